"""The learned models as recommenders: retrieval alone (`user-model`), and the pipeline with query vector and ranker.

Both stand on the same fits. What is chosen (epochs, the ranker's weights) is chosen on each user's last target of the
fit part, held out; the user model that serves is then trained on all of the fit part, for as many epochs.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.recommend.learned import LearnedRanker
from services.recommend.pipeline import RecommendationPipeline
from services.recommend.queries import LearnedQueries
from training.configs import RunConfig
from training.pipeline import BuildInputs, PipelineRecommender
from training.ranker import Examples, FittedRanker, collect, fit_ranker
from training.recommender import ScoringRecommender
from training.sequences import tokens_of
from training.splits import Split, hold_out_last
from training.user_model import Catalogue, Fitted, UserModelTrainer, queries_of

Tell = Callable[[dict[str, float]], None]


@dataclass(frozen=True)
class UserModels:
    """`earlier`: trained without the targets of `held`; `final`: on all of the split's fit part."""

    held: Split
    earlier: Fitted
    final: Fitted


class LearnedModels:
    """Fits user models once a split and seed, for whoever asks."""

    def __init__(
        self, catalogue: Catalogue, config: RunConfig, *, device: str = "cpu", tell: Tell = lambda _: None
    ) -> None:
        self.config, self.device, self.tell = config, device, tell
        self._trainer = UserModelTrainer(catalogue, config.user_model, device=device, tell=tell)
        self._fits: dict[tuple[str, int], UserModels] = {}

    def user_models(self, split: Split, seed: int) -> UserModels:
        """The user models of a split."""
        key = split.name, seed
        if key not in self._fits:
            held = hold_out_last(split)
            earlier = self._trainer.fit_until_best(tokens_of(held, held.fit), held, seed)
            final = self._trainer.fit(tokens_of(split, split.fit), seed, earlier.trained.epochs)
            self._fits[key] = UserModels(held, earlier, final)
        return self._fits[key]


class UserModelRecommender(ScoringRecommender):
    """Cosine of the user's query vector with every item's vector."""

    name = "user-model"
    deterministic = False

    def __init__(self, models: LearnedModels, seed: int) -> None:
        self._models, self._seed = models, seed

    def fit(self, split: Split) -> None:
        self.split = split
        self.fitted = self._models.user_models(split, self._seed).final
        self._history = tokens_of(split, split.history)

    def scores(self, users: NDArray[np.int32]) -> NDArray[np.float32]:
        return queries_of(self.fitted, self._history, users) @ self.fitted.vectors.T


class LearnedPipeline(PipelineRecommender):
    """The serving pipeline with the learned query vector as a source and the learned ranker at its end."""

    deterministic = False

    def __init__(self, build: BuildInputs, models: LearnedModels, seed: int) -> None:
        super().__init__(build)
        self._models, self._seed = models, seed
        self.ranker: FittedRanker | None = None

    def fit(self, split: Split) -> None:
        """Fit the ranker on the pipeline of an earlier time, then build the pipeline of the split."""
        models = self._models.user_models(split, self._seed)
        examples = self.examples(models)
        settings, device = self._models.config.ranker, self._models.device
        self.ranker = fit_ranker(examples, settings, self._seed, device=device, tell=self._models.tell)
        self._ranker = None if self.ranker is None else LearnedRanker(self.ranker.network, "1")
        self.prepare(split, models.final)

    def examples(self, models: UserModels) -> Examples:
        """What the pipeline would have ranked before the targets that are held out."""
        self._ranker = None
        self.prepare(models.held, models.earlier)
        rng = np.random.default_rng(self._seed + 3)
        users = np.sort(rng.permutation(models.held.users)[: self._models.config.ranker.users])
        return collect(models.held, self.candidates, users)

    def prepare(self, split: Split, fitted: Fitted) -> None:
        """Make `self.pipeline` that of a split with a user model."""
        super().fit(split)
        self.queries = LearnedQueries(fitted.model, fitted.words, self.inputs.snapshot)
        self.pipeline = RecommendationPipeline(self.inputs.snapshot, self._ranker, self._config, queries=self.queries)

    def candidates(self, user: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """(item codes, features) of what the ranker would be asked about."""
        found, features = self.pipeline.candidates(self.portrait_of(user), self._request(user, 1), self.inputs.now)
        return self.codes[found.indices], features
