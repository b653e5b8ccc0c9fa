"""Photos are encoded elsewhere, few at a time, and refused clearly where that does not work."""

import asyncio

import numpy as np
import pytest

from services.core.errors import NotReady
from services.serve.breaker import Breaker, BreakerConfig
from services.serve.photos import EncodedPhoto, PhotoConfig, Photos

ENCODED = EncodedPhoto("fused", np.zeros(2, np.float32).tobytes(), "net", np.zeros(3, np.float32).tobytes())

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Encoder:
    def __init__(self) -> None:
        self.most = self.now = 0
        self.open = asyncio.Event()
        self.failure: Exception | None = None

    async def __call__(self, data: bytes) -> EncodedPhoto | None:
        self.now += 1
        self.most = max(self.most, self.now)
        await self.open.wait()
        self.now -= 1
        if self.failure is not None:
            raise self.failure
        return ENCODED if data else None


async def test_few_are_encoded_at_once_and_more_than_may_wait_are_refused():
    encoder = Encoder()
    photos = Photos(encoder, PhotoConfig(at_once=2, waiting=4))
    waiting = [asyncio.create_task(photos.encode(b"x")) for _ in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(NotReady, match="Too many photos"):
        await photos.encode(b"x")
    encoder.open.set()
    assert await asyncio.gather(*waiting) == [ENCODED] * 4
    assert encoder.most == 2


async def test_what_cannot_be_decoded_is_none():
    encoder = Encoder()
    encoder.open.set()
    assert await Photos(encoder).encode(b"") is None


async def test_an_encoder_that_fails_or_hangs_is_left_alone():
    encoder = Encoder()
    photos = Photos(encoder, PhotoConfig(budget_s=0.001), Breaker(BreakerConfig(tolerated=2)))
    with pytest.raises(NotReady, match="in time"):
        await photos.encode(b"x")
    encoder.open.set()
    encoder.failure = ConnectionError("gone")
    with pytest.raises(NotReady, match="in time"):
        await photos.encode(b"x")
    with pytest.raises(NotReady, match="just now"):
        await photos.encode(b"x")
