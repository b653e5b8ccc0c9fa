"""What one worker process holds: built on first use, in the process that runs the tasks."""

from functools import cache, cached_property

from sqlalchemy import Engine

from services.core.addresses import Addresses, resolve_addresses
from services.core.paths import HomePaths
from services.core.settings import Settings, get_settings
from services.db.session import make_engine
from services.workers.handlers import Handlers
from services.workers.models import EncoderSet
from services.workers.runner import Handler
from services.workers.stores import Stores


class WorkerContext:
    """Engine, encoders and handlers of this process; each is made when a task first needs it."""

    def __init__(self, settings: Settings, addresses: Addresses) -> None:
        self.settings = settings
        self.addresses = addresses
        self.paths = HomePaths(settings.home)

    @cached_property
    def engine(self) -> Engine:
        return make_engine(self.addresses.sqlalchemy_url, pool_size=6)

    @cached_property
    def encoders(self) -> EncoderSet:
        return EncoderSet(self.settings)

    @property
    def encoder_names(self) -> list[str]:
        """The configured encoders, text then image."""
        return [self.settings.text_encoder, self.settings.image_encoder]

    @cached_property
    def stores(self) -> Stores:
        return Stores(self.addresses, self.paths)

    @cached_property
    def handlers(self) -> dict[str, Handler]:
        return Handlers(self).by_kind()


@cache
def worker_context() -> WorkerContext:
    """This process's context."""
    settings = get_settings()
    return WorkerContext(settings, resolve_addresses(settings))
