"""The simulated shop: products, histories and hidden truth of one config, streamed."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import polars as pl

from services.simulation.batches import rebatch
from services.simulation.catalogue import Catalogue, build_catalogue
from services.simulation.config import ShopConfig, microseconds_of
from services.simulation.documents import event_document, item_document
from services.simulation.files import FileFormat, ShopFiles, shop_files, write_json_lines, write_parquet
from services.simulation.history import block_events
from services.simulation.ids import item_numbers, user_numbers
from services.simulation.intents import Intents, draw_intents
from services.simulation.item_frames import BATCH_ITEMS, item_frames
from services.simulation.pages import HotList
from services.simulation.pictures import draw_pictures
from services.simulation.responses import RankedList, respond
from services.simulation.tastes import BLOCK_USERS, Tastes, block_count, draw_tastes
from services.simulation.truth import taste_frame
from services.simulation.utility import utility

BATCH_USERS = 1_000


class SimulatedShop:
    """A deterministic shop. Memory holds the catalogue's arrays and a few blocks of users, however many there are."""

    def __init__(self, config: ShopConfig) -> None:
        self.config = config
        self.truth = lru_cache(maxsize=8)(self._draw_truth)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The products' hidden arrays."""
        return build_catalogue(self.config)

    def items(self, batch_items: int = BATCH_ITEMS) -> Iterator[pl.DataFrame]:
        """Item rows of the contract in batches; `attributes` is the text of a JSON object."""
        return item_frames(self.catalogue, batch_items)

    def item_documents(self) -> Iterator[dict]:
        """Items as the objects that `PUT /v1/items` takes."""
        for frame in self.items():
            yield from map(item_document, frame.iter_rows(named=True))

    def events(self, batch_users: int = BATCH_USERS) -> Iterator[pl.DataFrame]:
        """Events (EVENT_SCHEMA) of `batch_users` users a frame, sorted by user, then time."""
        hot = HotList.of(self.config, self.catalogue)
        blocks = (
            block_events(self.config, self.catalogue, hot, *self.truth(block))
            for block in range(block_count(self.config))
        )
        return rebatch(blocks, BLOCK_USERS, self.config.users, batch_users)

    def event_documents(self) -> Iterator[dict]:
        """Events as the objects that `POST /v1/events` takes."""
        for frame in self.events():
            yield from map(event_document, frame.iter_rows(named=True))

    def taste_frames(self) -> Iterator[pl.DataFrame]:
        """The hidden truth in batches of users; see `services.simulation.truth.taste_frame` for the columns."""
        return (taste_frame(self.config, *self.truth(block)) for block in range(block_count(self.config)))

    def tastes(self) -> pl.DataFrame:
        """The hidden truth of all users in one frame."""
        return pl.concat(self.taste_frames())

    def true_affinity(self, user_ids: Sequence[str], item_ids: Sequence[str], at: datetime | None = None) -> np.ndarray:
        """Hidden utility [users, items], float32; with `at`, the intent that users have at that time is added.

        Raises NotFound for an id that is not the shop's.
        """
        users = user_numbers(user_ids, self.config.users)
        items = item_numbers(item_ids, self.config.items)[None, :]
        result = np.empty((len(users), items.shape[1]), dtype=np.float32)
        for block in np.unique(users // BLOCK_USERS):
            tastes, intents = self.truth(int(block))
            chosen = np.flatnonzero(users // BLOCK_USERS == block)
            row = users[chosen] - tastes.first_user
            wanted = None
            if at is not None:
                moment = np.full(len(row), microseconds_of(at))
                wanted = intents.leaf_of(row, intents.active(row, moment))[:, None]
            result[chosen] = utility(tastes, self.catalogue, row[:, None], items, wanted)
        return result

    def respond(
        self, user_id: str, ranked_item_ids: Sequence[str], now: datetime, request_id: str | None = None
    ) -> list[dict]:
        """Event objects that showing this list to this user now causes; see `services.simulation.responses`."""
        number = int(user_numbers([user_id], self.config.users)[0])
        tastes, intents = self.truth(number // BLOCK_USERS)
        items = item_numbers(ranked_item_ids, self.config.items)
        ranked = RankedList(number - tastes.first_user, items, now, request_id)
        frame = respond(self.config, self.catalogue, tastes, intents, ranked)
        return [event_document(row) for row in frame.iter_rows(named=True)]

    def draw_pictures(self, media_root: Path, item_ids: Sequence[str] | None = None) -> int:
        """Draws the items' pictures (all, unless ids are given) under the media folder; returns how many."""
        config = self.config
        numbers = np.arange(config.items) if item_ids is None else item_numbers(item_ids, config.items)
        return draw_pictures(config.seed, self.catalogue, numbers, media_root)

    def write(self, folder: Path, format: str = FileFormat.JSONL) -> ShopFiles:
        """Writes items and events under `folder`/shop and the tastes under `folder`/hidden, streaming."""
        paths = shop_files(folder, format)
        if format == FileFormat.JSONL:
            write_json_lines(paths.items, self.item_documents())
            write_json_lines(paths.events, self.event_documents())
        else:
            write_parquet(paths.items, self.items())
            write_parquet(paths.events, self.events())
        write_parquet(paths.tastes, self.taste_frames())
        return paths

    def _draw_truth(self, block: int) -> tuple[Tastes, Intents]:
        tastes = draw_tastes(self.config, self.catalogue, block)
        return tastes, draw_intents(self.config, self.catalogue, tastes)
