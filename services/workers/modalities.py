"""The modalities of an item, each as what is encoded, under which version, and how."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol, TypeVar

import numpy as np
import orjson
import polars as pl

from services.core.types import Modality
from services.db.embeddings import StoredEmbedding
from services.encoders.content import content_hashes, item_texts
from services.encoders.encoder_set import EncoderSet
from services.encoders.media_types import MediaKind, MediaReason

PICTURES = 3
"""Pictures of an item that are encoded; their mean is its image vector."""

PICTURES_AT_ONCE = 64
"""Fetched pictures that are held in memory at a time."""


T = TypeVar("T")


class ModalityReader(Protocol):
    """One modality of items. `hashes` are None where an item has no such content."""

    modality: Modality

    @property
    def version(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    def hashes(self, items: pl.DataFrame) -> list[bytes | None]: ...

    def encode(self, items: pl.DataFrame) -> list[StoredEmbedding]: ...


class TextReader:
    """Title, brand, categories, attributes and description through the text encoder."""

    modality = Modality.TEXT

    def __init__(self, encoders: EncoderSet) -> None:
        self._encoders = encoders

    @property
    def version(self) -> str:
        return self._encoders.text.version

    @property
    def dimension(self) -> int:
        return self._encoders.text.dimension

    def hashes(self, items: pl.DataFrame) -> list[bytes | None]:
        return _hashes(self.version, _texts(items))

    def encode(self, items: pl.DataFrame) -> list[StoredEmbedding]:
        return [StoredEmbedding(vector, None) for vector in self._encoders.text.encode(_texts(items))]


class ImageReader:
    """The first pictures of an item, fetched and averaged."""

    modality = Modality.IMAGE

    def __init__(self, encoders: EncoderSet) -> None:
        self._encoders = encoders

    @property
    def version(self) -> str:
        return self._encoders.image.version

    @property
    def dimension(self) -> int:
        return self._encoders.image.dimension

    def hashes(self, items: pl.DataFrame) -> list[bytes | None]:
        return _hashes(self.version, _first(items, "image_urls", PICTURES))

    def encode(self, items: pl.DataFrame) -> list[StoredEmbedding]:
        urls = _first(items, "image_urls", PICTURES)
        owners = np.repeat(np.arange(len(urls)), [len(group) for group in urls])
        results = self._encoders.media.fetch_iter(url for group in urls for url in group)
        sums = np.zeros((len(urls), self.dimension), np.float32)
        reasons: dict[int, str] = {}
        for batch in batched(zip(owners.tolist(), results, strict=True), PICTURES_AT_ONCE):
            for owner, result in batch:
                reasons.setdefault(owner, result.reason or MediaReason.UNDECODABLE)
            readable = [(owner, result.data) for owner, result in batch if result.data is not None]
            vectors, decoded = self._encoders.image.encode([data for _, data in readable])
            np.add.at(sums, np.array([owner for owner, _ in readable], np.int64)[decoded], vectors[decoded])
        return _averaged(sums, reasons)


class VideoReader:
    """The first video of an item: evenly spaced frames, averaged."""

    modality = Modality.VIDEO

    def __init__(self, encoders: EncoderSet) -> None:
        self._encoders = encoders

    @property
    def version(self) -> str:
        return self._encoders.video.version

    @property
    def dimension(self) -> int:
        return self._encoders.image.dimension

    def hashes(self, items: pl.DataFrame) -> list[bytes | None]:
        return _hashes(self.version, _first(items, "video_urls", 1))

    def encode(self, items: pl.DataFrame) -> list[StoredEmbedding]:
        urls = [group[0] for group in _first(items, "video_urls", 1)]
        sums = np.zeros((len(urls), self.dimension), np.float32)
        reasons: dict[int, str] = {}
        for row, result in enumerate(self._encoders.media.fetch_iter(urls, MediaKind.VIDEO)):
            vector = None if result.data is None else self._encoders.video.encode(result.data)
            if vector is None:
                reasons[row] = result.reason or MediaReason.UNDECODABLE
            else:
                sums[row] = vector
        return _averaged(sums, reasons)


def readers(encoders: EncoderSet) -> tuple[ModalityReader, ...]:
    """Every modality Portrait knows."""
    return (TextReader(encoders), ImageReader(encoders), VideoReader(encoders))


def batched(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of up to `size` rows."""
    iterator = iter(rows)
    while batch := list(islice(iterator, size)):
        yield batch


def _hashes(version: str, contents: Sequence[str | Sequence[str]]) -> list[bytes | None]:
    """The hash of each content; None where there is nothing to encode."""
    hashes = content_hashes(version, contents)
    return [digest if content else None for digest, content in zip(hashes, contents, strict=True)]


def _texts(items: pl.DataFrame) -> list[str]:
    columns = (items[name].to_list() for name in ("title", "brand", "categories", "description"))
    return item_texts(*columns, [orjson.loads(attributes or "{}") for attributes in items["attributes"]])


def _first(items: pl.DataFrame, column: str, count: int) -> list[Sequence[str]]:
    return items[column].list.head(count).to_list()


def _averaged(sums: np.ndarray, reasons: dict[int, str]) -> list[StoredEmbedding]:
    """Unit vectors of the rows that have one; the others with the reason of their first medium."""
    norms = np.linalg.norm(sums, axis=1)
    return [
        StoredEmbedding(sums[row] / norms[row], None) if norms[row] > 0 else StoredEmbedding(None, reasons[row])
        for row in range(len(sums))
    ]
