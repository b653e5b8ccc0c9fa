"""The deployment `Encoder`: queries and photos into vectors of the items' space, in a process of its own.

It scales on its own and may be slow: requests wait for it within a budget (services/serve/query_vectors.py). Models are
loaded when they are first needed, so a shop without searches does not pay for them.
"""

import asyncio
import gc
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ray import serve

from services.core.errors import CorruptArtefact
from services.core.logging import configure_logging
from services.core.memory import give_back
from services.core.paths import HomePaths
from services.core.settings import get_settings
from services.registry.registry import UNTRAINED, ModelRegistry
from services.registry.search_artefact import read_cross_encoder
from services.serve.encoder_client import ENCODER
from services.serve.encoder_socket import EncoderSocket, encoder_folder
from services.serve.loopback import keep_on_loopback
from services.serve.photos import EncodedPhoto
from services.serve.query_vectors import Encoded

if TYPE_CHECKING:
    from services.encoders.encoder_set import EncoderSet
    from services.networks.cross_encoder import CrossEncoder

THREADS = 1
"""Of one model: the gateway beside it is what the machine is for, and short texts gain nothing from more."""
MAX_BATCH = 32
MAX_ONGOING = 256
PHOTO_PIXELS = 24_000_000
"""Of an uploaded photo, told from its header before any pixel is decoded: 72 MB of memory at most."""


class Models:
    """The encoders, loaded by the thread that first needs them, and the cross-encoder asked for last."""

    def __init__(self) -> None:
        self._loading = threading.Lock()
        self._encoders: EncoderSet | None = None
        self._cross: tuple[str, CrossEncoder] | None = None

    @property
    def encoders(self) -> "EncoderSet":
        with self._loading:
            if self._encoders is None:
                self._encoders = self._load()
        return self._encoders

    def _load(self) -> "EncoderSet":
        import torch  # noqa: PLC0415 - seconds and 300 MB: paid by the first query, not by the start

        from services.encoders.encoder_set import EncoderSet  # noqa: PLC0415 - as above

        torch.set_num_threads(THREADS)
        encoders = EncoderSet(get_settings())
        _ = encoders.space  # loads both models
        encoders.text.only_encode()
        gc.collect()
        give_back()  # some 100 MB that loading took for a while
        return encoders

    def texts(self, queries: list[str]) -> list[Encoded]:
        """The vectors of queries."""
        encoders = self.encoders
        vectors = encoders.in_space(text=encoders.text.encode(queries, purpose="query"))
        return [Encoded(encoders.space, vector.tobytes()) for vector in vectors]

    def cross_scores(self, version: str, query: str, titles: list[str]) -> bytes:
        """float32 bytes: how well each title fits the query by the cross-encoder of a search ranker.

        Raises:
            NotFound: there is no such version, or it has no cross-encoder.
            CorruptArtefact: the version is damaged, or was taught on another text encoder.
        """
        if self._cross is None or self._cross[0] != version:
            self._cross = version, self._cross_encoder(version)
        return self._cross[1].scores(query, titles).tobytes()

    def _cross_encoder(self, version: str) -> "CrossEncoder":
        from services.networks.cross_encoder import CrossEncoderConfig, taught_cross_encoder  # noqa: PLC0415 - as above

        text = self.encoders.text
        registry = ModelRegistry(HomePaths(get_settings().home).search_rankers, UNTRAINED)
        about, weights = read_cross_encoder(registry, version)
        if about.encoder != text.version:
            raise CorruptArtefact(
                f"The cross-encoder of {version} goes on from {about.encoder}, and {text.version} is configured: train "
                "the search ranker again"
            )
        return taught_cross_encoder(text.tokenizer, text.model, CrossEncoderConfig(**about.network), weights)

    def photo(self, data: bytes) -> EncodedPhoto | None:
        """The vectors of one photo, fused and as the image encoder makes it; None where it cannot be decoded."""
        from services.encoders.pictures import PictureLimits  # noqa: PLC0415 - as above

        encoders = self.encoders
        vectors, decoded = encoders.image.encode([data], limits=PictureLimits(max_pixels=PHOTO_PIXELS))
        if not decoded[0]:
            return None
        fused = encoders.in_space(image=vectors)[0]
        return EncodedPhoto(encoders.space, fused.tobytes(), encoders.image.version, vectors[0].tobytes())


@serve.deployment(
    name=ENCODER, max_ongoing_requests=MAX_ONGOING, health_check_period_s=2, ray_actor_options={"num_cpus": 0}
)
class Encoder:
    """Serve's handle on the models. Queries that arrive while others are encoded make up the next batch."""

    def __init__(self) -> None:
        os.environ["OMP_NUM_THREADS"] = str(THREADS)
        configure_logging(get_settings().log_level, json_lines=True)
        keep_on_loopback()
        self._models = Models()
        self._near = EncoderSocket(encoder_folder(get_settings().home), self.text)
        self._opening = asyncio.get_running_loop().create_task(self._near.open())
        self._text_thread = ThreadPoolExecutor(1, thread_name_prefix="texts")
        self._cross_thread = ThreadPoolExecutor(1, thread_name_prefix="titles")  # queries need not wait for these
        self._photo_thread = ThreadPoolExecutor(1, thread_name_prefix="photos")

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0.0)
    async def text(self, queries: list[str]) -> list[Encoded]:
        """The vector of each query."""
        return await asyncio.get_running_loop().run_in_executor(self._text_thread, self._models.texts, queries)

    async def cross_scores(self, version: str, query: str, titles: list[str]) -> bytes:
        """float32 bytes: how well each title fits the query by the cross-encoder of a search ranker."""
        run = asyncio.get_running_loop().run_in_executor
        return await run(self._cross_thread, self._models.cross_scores, version, query, titles)

    async def photo(self, data: bytes) -> EncodedPhoto | None:
        """The vectors of one photo; None where the bytes are no whole picture within the limits."""
        return await asyncio.get_running_loop().run_in_executor(self._photo_thread, self._models.photo, data)
