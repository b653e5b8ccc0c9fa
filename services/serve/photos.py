"""An uploaded photo on its way to the encoder: few at a time, within a time budget, never on the event loop."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.core.errors import NotReady
from services.core.logging import get_logger
from services.serve.breaker import Breaker

log = get_logger("gateway")


@dataclass(frozen=True)
class EncodedPhoto:
    """A photo's vector in the items' space, and as the image encoder `version` makes it; float32 bytes, normalised."""

    space: str
    vector: bytes
    version: str
    image: bytes


@dataclass(frozen=True)
class PhotoConfig:
    """`budget_s`: how long a request waits for its photo; `at_once`: photos sent to the encoder at the same time;
    `waiting`: requests that may wait for that, more are refused."""

    budget_s: float = 10.0
    at_once: int = 2
    waiting: int = 16


class Photos:
    """Used on the event loop's thread alone."""

    def __init__(
        self,
        encode: Callable[[bytes], Awaitable[EncodedPhoto | None]],
        config: PhotoConfig | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        self.config = PhotoConfig() if config is None else config
        self._encode = encode
        self._breaker = Breaker() if breaker is None else breaker
        self._slots = asyncio.Semaphore(self.config.at_once)
        self._waiting = 0

    async def encode(self, data: bytes) -> EncodedPhoto | None:
        """The photo's vectors; None where it cannot be decoded.

        Raises:
            NotReady: too many photos wait, or the encoder does not answer.
        """
        if self._waiting >= self.config.waiting:
            raise NotReady("Too many photos are being encoded: send this one again in a moment")
        if not self._breaker.allows():
            raise NotReady(
                "The image encoder does not answer just now: search by words, or send this again in a moment"
            )
        self._waiting += 1
        try:
            async with asyncio.timeout(self.config.budget_s), self._slots:
                found = await self._encode(data)
        except asyncio.CancelledError:
            self._breaker.came_late()
            raise
        except Exception as error:  # whatever happens in or on the way to another process
            self._breaker.failed()
            log.warning("photo-not-encoded", error=type(error).__name__, said=str(error)[:200])
            raise NotReady(
                "The image encoder did not answer in time: it may be starting, send this again in a moment"
            ) from error
        finally:
            self._waiting -= 1
        self._breaker.succeeded()
        return found


def image_vector(photo: EncodedPhoto) -> NDArray[np.float32]:
    """float32 (d,) as the image encoder makes it."""
    return np.frombuffer(photo.image, np.float32)
