"""What every Python process that Ray starts for a stack on one machine imports first: Ray Serve and uvicorn without
what such a stack does without. Ray is told its name in `services.serve.environment`.
"""

import asyncio
from typing import Any

import uvicorn
from ray.serve._private.proxy_state import ProxyStateManager

from services.core.logging import get_logger

TICK_S = 0.5
"""How often a server looks whether it is to stop, and renews the header `Date`: uvicorn itself wakes ten times a second
to look."""


def apply() -> None:
    """Start no second proxy behind HAProxy: where no replica lives it lets requests wait inside Ray, and it takes 100
    MB and a hundredth of a core. Without it HAProxy says at once that no gateway answers."""
    if not hasattr(ProxyStateManager, "_start_fallback_proxy_if_needed") or not hasattr(uvicorn.Server, "main_loop"):
        get_logger("serve").warning("helper-started", cure="check services/serve/preloaded.py with these versions")
        return
    ProxyStateManager._start_fallback_proxy_if_needed = _start_none  # type: ignore[method-assign]
    uvicorn.Server.main_loop = _main_loop  # type: ignore[method-assign]


def _start_none(manager: ProxyStateManager, *args: Any, **kwargs: Any) -> None:
    """Start no proxy."""


async def _main_loop(server: uvicorn.Server) -> None:
    while not await server.on_tick(0):
        await asyncio.sleep(TICK_S)


apply()
