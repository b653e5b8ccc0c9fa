"""What a tick of item engagement needs and says."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import pyarrow as pa


class FeatureWriter(Protocol):
    """`services.features.online.OnlineWriter`."""

    def write_view(self, view_name: str, table: pa.Table) -> int: ...


@dataclass(frozen=True)
class TickReport:
    """What a tick did. `busy`: nothing, another process was at it. `online`: False when the online store failed, whose
    rows then wait in the queue."""

    busy: bool = False
    as_of: datetime | None = None
    entered: int = 0
    left: int = 0
    rebuilt: int = 0
    published: int = 0
    online: bool = True
    items: int = 0
    seconds: float = 0.0

    @property
    def worked(self) -> bool:
        """Whether there was anything to do."""
        return bool(self.entered or self.left or self.rebuilt or self.published)
