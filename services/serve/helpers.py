"""Ray's helper processes that a stack on one machine does without: about 170 MB and a hundredth of a core."""

from typing import Any

from ray._private.node import Node
from ray._private.ray_constants import DASHBOARD_ADDRESS, KV_NAMESPACE_DASHBOARD
from ray.experimental.internal_kv import _internal_kv_put

from services.core.logging import get_logger

UNNEEDED = ("start_monitor", "start_log_monitor", "start_api_server")
"""The autoscaler, where there is one node; the copier of workers' logs, which are told to go nowhere (`log_to_driver`);
the dashboard, which Ray starts without its pages even where it is told not to."""

NOBODY = "http://127.0.0.1:9"


def without_helpers() -> None:
    """Let `ray.init` start none of them. Ray has no setting for it; a version that names them otherwise starts them."""
    for name in UNNEEDED:
        if not hasattr(Node, name):
            get_logger("serve").warning("helper-started", helper=name, cure="check services/serve/helpers.py")
            continue
        setattr(Node, name, _nothing)


def without_dashboard() -> None:
    """Tell Ray's agent an address of the dashboard, at which nobody listens: without one it asks for it every second,
    and writes to its log that there is none. To be called once Ray has started."""
    _internal_kv_put(DASHBOARD_ADDRESS, NOBODY, namespace=KV_NAMESPACE_DASHBOARD)


def _nothing(node: Node, *args: Any, **kwargs: Any) -> None:
    """Start no process."""
