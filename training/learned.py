"""The learned models as recommenders: retrieval alone (`user-model`), and the pipeline with query vector and ranker.

Both stand on the same fits. What is chosen (epochs, the ranker's weights) is chosen on each user's last target of the
fit part, held out; the user model that serves is then trained on all of the fit part, for as many epochs.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.networks.numpy_ranker import NumpyRanker
from services.recommend.learned import LearnedRanker
from services.recommend.pipeline import RecommendationPipeline
from services.recommend.queries import LearnedQueries
from training.configs import RunConfig
from training.list_store import split_digest
from training.pipeline import BuildInputs, PipelineRecommender
from training.ranker import Examples, collect, fit_ranker
from training.recommender import ScoringRecommender
from training.sequences import tokens_of
from training.splits import Split, hold_out_last
from training.trainer import Tell
from training.user_model import Catalogue, Fitted, UserModelTrainer, queries_of


@dataclass(frozen=True)
class UserModels:
    """`earlier`: trained without the targets of `held`; `final`: on all of the fit part, when it is asked for."""

    held: Split
    earlier: Fitted
    refit: Callable[[], Fitted]

    @cached_property
    def final(self) -> Fitted:
        return self.refit()


class LearnedModels:
    """Fits user models and rankers once a split and seed, for whoever asks."""

    def __init__(
        self,
        catalogue: Catalogue,
        config: RunConfig,
        *,
        device: str = "cpu",
        tell: Tell = lambda _: None,
        checkpoints: Path | None = None,
        workers: int = 1,
    ) -> None:
        """`checkpoints`: a folder from which a run that was cut off goes on, and a finished one is taken up again."""
        self.config, self.device, self.tell = config, device, tell
        self._catalogue = catalogue
        self._trainer = UserModelTrainer(
            catalogue, config.user_model, device=device, tell=tell, checkpoints=checkpoints, workers=workers
        )
        self._fits: dict[tuple[str, int], UserModels] = {}
        self._rankers: dict[tuple[str, int], NumpyRanker | None] = {}
        self._checkpoints = checkpoints

    @cached_property
    def digest(self) -> str:
        """Tells settings and catalogues apart."""
        return f"{self.config!r} {self._catalogue.digest}"

    def user_models(self, split: Split, seed: int) -> UserModels:
        """The user models of a split."""
        key = split.name, seed
        if key not in self._fits:
            held = hold_out_last(split)
            earlier = self._trainer.fit_until_best(tokens_of(held, held.fit), held, seed)
            epochs = earlier.trained.epochs
            self._fits[key] = UserModels(
                held, earlier, lambda: self._trainer.fit(tokens_of(split, split.fit), seed, epochs)
            )
        return self._fits[key]

    def ranker(self, split: Split, seed: int, examples: Callable[[], Examples]) -> NumpyRanker | None:
        """The ranker of a split, fitted to these examples for whoever asks first; None: too few of them are hits."""
        key = split.name, seed
        if key not in self._rankers:
            self._rankers[key] = self._kept_ranker(split, seed, examples)
        return self._rankers[key]

    def _kept_ranker(self, split: Split, seed: int, examples: Callable[[], Examples]) -> NumpyRanker | None:
        path = None
        if self._checkpoints is not None:
            path = self._checkpoints / f"ranker-{split_digest(split, self.digest)}-seed{seed}.safetensors"
            if path.is_file():
                return NumpyRanker.load(path)
        fitted = fit_ranker(examples(), self.config.ranker, seed, device=self.device, tell=self.tell)
        if fitted is not None and path is not None:
            temporary = path.with_suffix(".tmp")
            fitted.network.save(temporary)
            temporary.replace(path)
        return None if fitted is None else fitted.network


class UserModelRecommender(ScoringRecommender):
    """Cosine of the user's query vector with every item's vector.

    Not `refitted` it is the model by which the number of epochs was chosen: trained without the last target of each
    user's fit part, asked with his complete history.
    """

    deterministic = False

    def __init__(self, models: LearnedModels, seed: int, refitted: bool = True) -> None:
        self.name = "user-model" if refitted else "user-model-unrefitted"
        self._models, self._seed, self._refitted = models, seed, refitted

    def fit(self, split: Split) -> None:
        self.split = split
        models = self._models.user_models(split, self._seed)
        self.fitted = models.final if self._refitted else models.earlier
        self._history = tokens_of(split, split.history)

    def scores(self, users: NDArray[np.int32]) -> NDArray[np.float32]:
        return queries_of(self.fitted, self._history, users) @ self.fitted.vectors.T


class LearnedPipeline(PipelineRecommender):
    """The serving pipeline with the learned query vector as a source and the learned ranker at its end.

    Not `refitted`, user model and snapshot know nothing of the last target of each user's fit part. The ranker is the
    same: those targets taught it.
    """

    deterministic = False

    def __init__(self, build: BuildInputs, models: LearnedModels, seed: int, refitted: bool = True) -> None:
        super().__init__(build, name="pipeline" if refitted else "pipeline-unrefitted")
        self._models, self._seed, self._refitted = models, seed, refitted
        self.ranker: NumpyRanker | None = None

    def fit(self, split: Split) -> None:
        """Fit the ranker on the pipeline of an earlier time, then build the pipeline of the split."""
        models = self._models.user_models(split, self._seed)
        self.ranker = self._models.ranker(split, self._seed, lambda: self.examples(models))
        self._ranker = None if self.ranker is None else LearnedRanker(self.ranker, "1")
        if self._refitted:
            self.prepare(split, models.final)
        else:
            self.prepare(replace(split, fit=models.held.fit), models.earlier)

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
