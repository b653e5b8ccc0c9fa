"""The deployment `Encoder` as the gateway calls it."""

import threading
from functools import cached_property
from pathlib import Path

from ray import serve
from ray.serve.handle import DeploymentHandle

from services.core.logging import get_logger
from services.serve.encoder_socket import NearEncoders, encoder_folder
from services.serve.photos import EncodedPhoto
from services.serve.query_vectors import Encoded

APPLICATION = "portrait"
ENCODER = "encoder"
WARM_UP = "warm-up"
LOADED_S = 120.0

log = get_logger("gateway")


class RemoteEncoder:
    """Calls it over a socket where it runs on this host, else over Serve's handle, which is found when it is first
    needed."""

    def __init__(self, home: Path) -> None:
        self._near = NearEncoders(encoder_folder(home))

    @cached_property
    def _handle(self) -> DeploymentHandle:
        # By value: straight to the replica over gRPC, without Ray's object store in between.
        return serve.get_deployment_handle(ENCODER, APPLICATION).options(_by_reference=False)

    def warm(self) -> None:
        """Have the models loaded, without waiting for it."""
        threading.Thread(target=self._load, name="warm-encoder", daemon=True).start()

    async def text(self, query: str) -> Encoded:
        """Raises whatever a call to another process may."""
        try:
            return await self._near.text(query)
        except ConnectionError:
            return await self._handle.text.remote(query)

    async def cross_scores(self, version: str, query: str, titles: list[str]) -> bytes:
        """As `text`: float32 bytes, how well each title fits the query by the cross-encoder of a search ranker."""
        return await self._handle.cross_scores.remote(version, query, titles)

    def _load(self) -> None:
        try:
            self._handle.text.remote(WARM_UP).result(timeout_s=LOADED_S)
        except Exception as error:  # searches go on by words, and the first of them asks again
            log.info("encoder-not-warm", error=type(error).__name__)

    async def photo(self, data: bytes) -> EncodedPhoto | None:
        """As `text`."""
        return await self._handle.photo.remote(data)
