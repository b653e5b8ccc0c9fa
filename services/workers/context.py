"""What one worker process holds: built on first use, in the process that runs the tasks."""

from functools import cache, cached_property
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import Engine

from services.core.addresses import Addresses, resolve_addresses
from services.core.paths import HomePaths
from services.core.settings import Settings, get_settings
from services.core.storage import ObjectStorage, open_storage
from services.db.session import make_engine
from services.workers.runner import Handler

if TYPE_CHECKING:
    from services.encoders.encoder_set import EncoderSet
    from services.workers.stores import Stores


class WorkerContext:
    """Engine, encoders, stores and handlers of this process; each is made when a task first needs it.

    The libraries behind them are heavy (torch, Feast): they are imported in the child process whose task needs them,
    never in the worker's parent, and not at all where only small tasks run.
    """

    def __init__(self, settings: Settings, addresses: Addresses) -> None:
        self.settings = settings
        self.addresses = addresses
        self.paths = HomePaths(settings.home)

    @cached_property
    def engine(self) -> Engine:
        return make_engine(self.addresses.sqlalchemy_url, pool_size=6)

    @cached_property
    def storage(self) -> ObjectStorage | None:
        """What hosts share snapshots by; None where the home is all there is."""
        return open_storage(self.settings.storage_url)

    @property
    def encoder_names(self) -> list[str]:
        """The configured encoders, text then image."""
        return [self.settings.text_encoder, self.settings.image_encoder]

    @property
    def search_language(self) -> str:
        return self.settings.search_language

    @cached_property
    def encoders(self) -> "EncoderSet":
        from services.encoders.encoder_set import EncoderSet  # noqa: PLC0415 - torch: see the class

        return EncoderSet(self.settings)

    @cached_property
    def stores(self) -> "Stores":
        from services.workers.stores import Stores  # noqa: PLC0415 - Feast: see the class

        return Stores(self.addresses, self.paths, self.settings.storage_url)

    def call_for_help(self, run_id: UUID) -> None:
        """Ask another worker to share a recompute; without one it goes on alone."""
        from services.workers.help_calls import call_for_help  # noqa: PLC0415 - Celery, which imports the tasks, they this

        call_for_help(run_id)

    @cached_property
    def handlers(self) -> dict[str, Handler]:
        from services.workers.handlers import Handlers  # noqa: PLC0415 - torch: see the class

        return Handlers(self).by_kind()


@cache
def worker_context() -> WorkerContext:
    """This process's context."""
    settings = get_settings()
    return WorkerContext(settings, resolve_addresses(settings))
