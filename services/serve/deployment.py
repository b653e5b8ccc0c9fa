"""The ingress deployment `Gateway`: one process with everything the hot path needs."""

import gc
import sys
from typing import TYPE_CHECKING

from ray import serve
from ray.util import get_node_ip_address
from starlette.types import ASGIApp

from services.core.addresses import resolve_addresses
from services.core.logging import configure_logging
from services.core.settings import get_settings
from services.serve.environment import LOOPBACK
from services.serve.loopback import keep_on_loopback

if TYPE_CHECKING:
    from services.serve.state import State

SWITCH_INTERVAL_S = 0.0005
"""How long another thread may keep the interpreter from the one that answers requests (Python's default: 5 ms)."""

_states: "list[State]" = []


def build_replica_app() -> ASGIApp:
    """Build the application of one replica; Ray Serve calls this in the replica's process."""
    # Feast and what is under it take seconds and 300 MB: the driver, which only deploys, is spared them.
    from services.serve.application import build_app  # noqa: PLC0415
    from services.serve.state import open_state  # noqa: PLC0415

    settings = get_settings()
    configure_logging(settings.log_level, json_lines=True)
    if get_node_ip_address() == LOOPBACK:
        keep_on_loopback()  # on a cluster, replicas of other nodes have to reach this one
    state = open_state(settings, resolve_addresses(settings))
    app = build_app(state)
    _states.append(state)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()  # what was loaded now stays: full collections would stall requests for 190 ms
    return app


@serve.deployment(name="gateway", health_check_period_s=2)
@serve.ingress(build_replica_app)
class Gateway:
    """Serve's handle on the application. `encoder` is deployed with it, and found by its name."""

    def __init__(self, encoder: object = None) -> None: ...

    def __del__(self) -> None:
        while _states:
            _states.pop().close()
