"""Trains the user model: what a user engages with next, from his events and what is known of the items."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.core import columns
from services.networks.item_inputs import ItemInputs, Vocabulary, price_edges
from services.networks.item_tower import TowerItems
from services.networks.numpy_user_model import NumpyUserModel
from services.networks.user_config import UserModelConfig
from services.networks.user_model import UserModel
from training.auxiliary import AugmentedSequences, with_auxiliary
from training.configs import FULL_SOFTMAX, UserModelSettings
from training.parallel import ALONE, Alone
from training.recommender import top_items
from training.sequences import Batch, Tokens, TrainingWindows, last_windows, padded
from training.softmax_loss import mean_log_sum_exp, native_bfloat16
from training.splits import Split
from training.trainer import Tell, Trained, TrainerSettings, seed_everything, train

VALIDATED_AT = 10
USERS_AT_ONCE = 1_024


@dataclass(frozen=True)
class Catalogue:
    """What is known of the items beside events, in the log's order: `content` (n, D) unit or zero rows, category names,
    brand (None unknown) and price (NaN unknown) of each."""

    item_ids: tuple[str, ...]
    content: NDArray[np.float32]
    categories: tuple[tuple[str, ...], ...]
    brands: tuple[str | None, ...]
    prices: NDArray[np.float64]

    @classmethod
    def of(cls, items: pa.Table, content: NDArray[np.float32] | None) -> "Catalogue":
        """Of a catalogue's canonical columns; `content` in its order, None where there is nothing to encode."""
        ids = items[columns.ITEM_ID].to_pylist()
        return cls(
            item_ids=tuple(ids),
            content=np.zeros((len(ids), 1), np.float32) if content is None else content,
            categories=tuple(tuple(names or ()) for names in items["categories"].to_pylist()),
            brands=tuple(items["brand"].to_pylist()),
            prices=items["price"].cast(pa.float64()).to_numpy(zero_copy_only=False),
        )

    @classmethod
    def bare(cls, item_ids: pa.Array, content: NDArray[np.float32] | None) -> "Catalogue":
        """Of items of which only ids, and perhaps vectors, are known."""
        count = len(item_ids)
        content = np.zeros((count, 1), np.float32) if content is None else content
        return cls(tuple(item_ids.to_pylist()), content, ((),) * count, (None,) * count, np.full(count, np.nan))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all of it, hexadecimal."""
        found = hashlib.sha256(self.content.tobytes())
        rest = self.content.shape, self.item_ids, self.categories, self.brands, self.prices.tolist()
        found.update(repr(rest).encode())
        return found.hexdigest()

    def vocabulary(self, counts: NDArray[np.float32], least: int = 2) -> Vocabulary:
        """The words of this catalogue; categories and brands of fewer than `least` items have no embedding."""
        categories = _frequent([name for names in self.categories for name in set(names)], least)
        brands = _frequent([name for name in self.brands if name is not None], least)
        return Vocabulary(self.item_ids, categories, brands, price_edges(self.prices), counts)

    def inputs(self, words: Vocabulary) -> ItemInputs:
        """The items in the numbers of a vocabulary."""
        return words.encode(self.content, self.item_ids, self.categories, self.brands, self.prices)


def _frequent(names: list[str], least: int) -> tuple[str, ...]:
    if not names:
        return ()
    distinct, counts = np.unique(np.array(names, object).astype(str), return_counts=True)
    return tuple(distinct[counts >= least].tolist())


@dataclass(frozen=True)
class Fitted:
    """A trained model with the words of its embeddings, its items' vectors (n, W), and how the training went."""

    model: NumpyUserModel
    words: Vocabulary
    vectors: NDArray[np.float32]
    trained: Trained


class UserModelTrainer:
    """Fits user models to tokens of one catalogue."""

    def __init__(
        self,
        catalogue: Catalogue,
        settings: UserModelSettings,
        *,
        device: str = "cpu",
        tell: Tell = lambda _: None,
        checkpoints: Path | None = None,
        workers: int = 1,
        group: Alone = ALONE,
    ) -> None:
        """`checkpoints`: a folder from which a run that is killed goes on. `workers`: Ray workers that train together;
        `group`: they, seen from one of them."""
        self.catalogue, self.settings, self.device, self.tell = catalogue, settings, device, tell
        self.workers, self._checkpoints, self._group = workers, checkpoints, group

    def with_(self, **changed: Any) -> "UserModelTrainer":
        """The same with other keyword arguments."""
        kept = {"device": self.device, "tell": self.tell, "checkpoints": self._checkpoints, "workers": self.workers}
        return UserModelTrainer(self.catalogue, self.settings, **{**kept, "group": self._group, **changed})

    def fit(self, tokens: Tokens, seed: int, epochs: int) -> Fitted:
        """Train on the tokens, exactly so many epochs."""
        return self._fit(tokens, seed, max(epochs, 1), None)

    def fit_until_best(self, tokens: Tokens, held: Split, seed: int) -> Fitted:
        """Train on tokens that lack the targets of `held`, up to the epoch after which those are found no better."""
        rng = np.random.default_rng(seed + 7)
        indptr, items = held.target_items
        some = np.sort(rng.permutation(len(held.users))[: self.settings.validation_users])
        return self._fit(tokens, seed, self.settings.max_epochs, (held.users[some], items[indptr[some]]))

    def _fit(self, *arguments: Any) -> Fitted:
        if self.workers == 1:
            return self.fit_here(*arguments)
        from training.ray_workers import fit_on_workers  # noqa: PLC0415 - Ray: only where it is asked for

        return fit_on_workers(self, arguments, self.workers)

    def fit_here(self, tokens: Tokens, seed: int, epochs: int, held: tuple[NDArray, NDArray] | None) -> Fitted:
        """Train in this process: until the items `held` of its users are found no better, or so many epochs."""
        settings = self.settings
        seed_everything(seed)
        stage = "user-model" if held is None else "user-model-held-out"
        windows = TrainingWindows(tokens, length=settings.length, window=settings.window, decay=settings.window_decay)
        words = self.catalogue.vocabulary(windows.item_counts(len(self.catalogue.item_ids)))
        inputs = self.catalogue.inputs(words)
        config = UserModelConfig(
            content=self.catalogue.content.shape[1],
            items=len(words.items),
            categories=len(words.categories),
            brands=len(words.brands),
            width=settings.width,
            blocks=settings.blocks,
            heads=settings.heads,
            length=settings.length,
            temperature=settings.temperature,
        )
        model = UserModel(config, settings.dropout, settings.id_dropout, settings.part_dropout)
        objective = NextItems(tokens, inputs, settings, seed, self.device)
        loss, generators, group = objective.loss, (objective.generator,), self._group
        if settings.auxiliary:
            beside = AugmentedSequences(tokens, TowerItems.of(inputs, self.device), seed, self.device)
            loss, generators = with_auxiliary(loss, beside, settings.auxiliary), (*generators, beside.generator)
        trained = train(
            model,
            lambda rng: windows.batches(rng, settings.batch_users, slice(group.rank, None, group.count)),
            loss,
            TrainerSettings(
                epochs=epochs,
                learning_rate=settings.learning_rate,
                weight_decay=settings.weight_decay,
                warm_up_steps=settings.warm_up_steps,
                accumulate=settings.accumulate,
                patience=settings.patience,
                average=settings.average,
                seed=seed,
                device=self.device,
                checkpoint=self._checkpoint(tokens, seed, None if held else epochs),
                stage=stage,
                group=group,
            ),
            None if held is None else lambda model: objective.recall(model, *held),
            self.tell,
            generators=generators,
            weight_of=lambda batch: float(batch.weights.sum()),
        )
        weights = {name: value.cpu().numpy() for name, value in trained.model.state_dict().items()}
        fitted = NumpyUserModel(config, weights)
        return Fitted(fitted, words, fitted.item_vectors(inputs), trained)

    def _checkpoint(self, tokens: Tokens, seed: int, epochs: int | None) -> Path | None:
        """A folder of its own for each combination of data, settings, seed and purpose."""
        if self._checkpoints is None:
            return None
        parts = (tokens.user, tokens.item, tokens.type, tokens.time, tokens.target)
        digest = hashlib.sha256(b"".join(part.tobytes() for part in parts))
        digest.update(f"{self.catalogue.digest} {self.settings!r}".encode())
        purpose = "until-best" if epochs is None else f"{epochs}-epochs"
        return self._checkpoints / f"user-model-{digest.hexdigest()[:12]}-seed{seed}-{purpose}"


class NextItems:
    """The objective: of all items, those that the user engages with next.

    Softmax cross entropy of cosines over a temperature. In large catalogues the sum over all items is estimated from
    the batch's own items and a uniform sample of the others, each standing for as many as it was drawn from (logQ, Yi
    et al. 2019). An item that nobody has had is no negative: that it was not taken says nothing about it.
    """

    def __init__(
        self, tokens: Tokens, inputs: ItemInputs, settings: UserModelSettings, seed: int, device: str = "cpu"
    ) -> None:
        self._half = native_bfloat16(device)
        self._tokens, self._items, self._settings = tokens, TowerItems.of(inputs, device, half=self._half), settings
        self._device = device
        self.generator = np.random.default_rng(seed + 1)
        self._count = len(inputs)
        self._known = np.flatnonzero(inputs.count > 0)

    def loss(self, model: UserModel, batch: Batch) -> Tensor:
        """Mean over the batch's hits, each weighing its weight."""
        history = self._tokens.item[batch.rows]
        rows, counts_for = self._columns(np.unique(np.concatenate([history[batch.known], batch.hits.ravel()])))
        place = np.zeros(self._count, np.int64)
        place[rows] = np.arange(len(rows))
        vectors = model.items(self._items.take(self._tensor(rows)))
        query = self._queries(model, vectors, place[history], batch).float()
        hits, weights = self._tensor(place[batch.hits]), self._tensor(batch.weights)
        temperature = self._settings.temperature
        chosen = torch.einsum("nw,nkw->nk", query, vectors[hits]) / temperature
        every = mean_log_sum_exp(
            query, vectors, self._tensor(counts_for), weights.sum(dim=1), temperature, half=self._half
        )
        return every - (chosen * weights).sum() / weights.sum()

    def _columns(self, needed: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """(items, how many items each stands for): those needed and all others that are known, or a sample of them."""
        others = np.setdiff1d(self._known, needed, assume_unique=True)
        drawn, negatives = others, self._settings.negatives
        if len(self._known) > FULL_SOFTMAX * negatives:
            drawn = self.generator.choice(others, min(negatives, len(others)), replace=False)
        stands = np.full(len(needed) + len(drawn), len(others) / max(len(drawn), 1), np.float32)
        stands[: len(needed)] = 1
        return np.concatenate([needed, drawn]), stands

    def recall(self, model: UserModel, users: NDArray[np.int32], items: NDArray[np.int32]) -> float:
        """Recall@10 of one held-out item a user, among all items but those of his history."""
        vectors = model.items(self._items)
        queries = query_vectors(model, vectors, self._tokens, users, self._settings.length)
        found = 0
        starts, ends = last_windows(self._tokens.user, users, len(self._tokens))
        for at in range(0, len(users), USERS_AT_ONCE):
            score = (queries[at : at + USERS_AT_ONCE] @ vectors.T).float().cpu().numpy()
            for row, (start, end) in enumerate(zip(starts[at:], ends[at:], strict=False)):
                if row < len(score):
                    own = self._tokens.item[start:end][self._tokens.target[start:end]]
                    score[row, own] = -np.inf
            best = top_items(score, VALIDATED_AT)
            found += int((best == items[at : at + USERS_AT_ONCE, None]).any(axis=1).sum())
        return found / max(len(users), 1)

    def _queries(self, model: UserModel, vectors: Tensor, history: NDArray, batch: Batch) -> Tensor:
        known = self._tensor(batch.known)
        types, times = self._tokens.type[batch.rows], self._tokens.time[batch.rows]
        embedded = vectors[self._tensor(history).long()] * known[..., None]
        return model.queries(embedded, self._tensor(types), self._tensor(times), known)[self._tensor(batch.asking)]

    def _tensor(self, array: NDArray) -> Tensor:
        return torch.as_tensor(array).to(self._device)


def query_vectors(model: UserModel, vectors: Tensor, tokens: Tokens, users: NDArray[np.int32], length: int) -> Tensor:
    """(len(users), W): what each user wants after his last token; zero rows for users without one."""
    starts, ends = last_windows(tokens.user, users, length)
    out = torch.zeros((len(users), vectors.shape[1]), device=vectors.device)
    some = np.flatnonzero(ends > starts)
    for at in range(0, len(some), USERS_AT_ONCE):
        chosen = some[at : at + USERS_AT_ONCE]
        rows, known = padded(starts[chosen], ends[chosen])
        mask = torch.as_tensor(known).to(vectors.device)
        queries = model.queries(
            vectors[torch.as_tensor(tokens.item[rows]).long().to(vectors.device)] * mask[..., None],
            torch.as_tensor(tokens.type[rows]).to(vectors.device),
            torch.as_tensor(tokens.time[rows]).to(vectors.device),
            mask,
        )
        out[torch.as_tensor(chosen)] = queries[torch.arange(len(chosen)), mask.sum(dim=1) - 1].float()
    return out


def queries_of(fitted: Fitted, tokens: Tokens, users: NDArray[np.int32]) -> NDArray[np.float32]:
    """(len(users), W), with the weights that serve, in torch for the sake of batches."""
    model = torch_model(fitted.model)
    with torch.no_grad():
        return query_vectors(model, torch.as_tensor(fitted.vectors), tokens, users, fitted.model.config.length).numpy()


def torch_model(model: NumpyUserModel) -> UserModel:
    """The same model as a torch module, in evaluation mode."""
    made = UserModel(model.config)
    made.load_state_dict({name: torch.as_tensor(value) for name, value in model.weights.items()})
    return made.eval()
