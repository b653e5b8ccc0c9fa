"""The modalities of an item, each as what is encoded, under which version, and how."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import polars as pl

from services.core.types import Modality
from services.db.embeddings import StoredEmbedding
from services.encoders.content import content_hashes, item_texts
from services.workers.models import EncoderSet

PICTURES = 3
"""Pictures of an item that are encoded; their mean is its image vector."""


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
        return content_hashes(self.version, item_texts(items))

    def encode(self, items: pl.DataFrame) -> list[StoredEmbedding]:
        return [StoredEmbedding(vector, None) for vector in self._encoders.text.encode(item_texts(items))]


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
        return content_hashes(self.version, _first(items, "image_urls", PICTURES))

    def encode(self, items: pl.DataFrame) -> list[StoredEmbedding]:
        urls = _first(items, "image_urls", PICTURES)
        owner = np.repeat(np.arange(len(urls)), [len(u) for u in urls])
        fetched = self._encoders.media.fetch_many([url for group in urls for url in group])
        readable = [row for row, result in enumerate(fetched) if result.data is not None]
        vectors, decoded = self._encoders.image.encode([fetched[row].data for row in readable])
        sums = np.zeros((len(urls), self.dimension), np.float32)
        np.add.at(sums, owner[readable][decoded], vectors[decoded])
        reasons: dict[int, str] = {}
        for row, result in enumerate(fetched):
            reasons.setdefault(int(owner[row]), result.reason or "undecodable")
        return _averaged(sums, reasons)


class VideoReader:
    """The first video of an item: evenly spaced frames, averaged."""

    modality = Modality.VIDEO

    def __init__(self, encoders: EncoderSet) -> None:
        self._encoders = encoders

    @property
    def version(self) -> str:
        return f"{self._encoders.video.version}"

    @property
    def dimension(self) -> int:
        return self._encoders.image.dimension

    def hashes(self, items: pl.DataFrame) -> list[bytes | None]:
        return content_hashes(self.version, _first(items, "video_urls", 1))

    def encode(self, items: pl.DataFrame) -> list[StoredEmbedding]:
        fetched = self._encoders.media.fetch_many([urls[0] for urls in _first(items, "video_urls", 1)])
        sums = np.zeros((len(fetched), self.dimension), np.float32)
        reasons: dict[int, str] = {}
        for row, result in enumerate(fetched):
            vector = None if result.data is None else self._encoders.video.encode(result.data)
            if vector is None:
                reasons[row] = result.reason or "undecodable"
            else:
                sums[row] = vector
        return _averaged(sums, reasons)


def readers(encoders: EncoderSet) -> tuple[ModalityReader, ...]:
    """Every modality Portrait knows."""
    return (TextReader(encoders), ImageReader(encoders), VideoReader(encoders))


def _first(items: pl.DataFrame, column: str, count: int) -> list[Sequence[str]]:
    return items[column].list.head(count).to_list()


def _averaged(sums: np.ndarray, reasons: dict[int, str]) -> list[StoredEmbedding]:
    """Unit vectors of the rows that have one; the others with the reason of their first medium."""
    norms = np.linalg.norm(sums, axis=1)
    return [
        StoredEmbedding(sums[row] / norms[row], None) if norms[row] > 0 else StoredEmbedding(None, reasons[row])
        for row in range(len(sums))
    ]
