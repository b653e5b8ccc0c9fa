"""What Ray's processes import first, in a process of its own: it changes Ray Serve and uvicorn for good."""

import subprocess
import sys

SCRIPT = """
import asyncio
import uvicorn
from ray.serve._private.proxy_state import ProxyStateManager
from services.serve import preloaded

manager = object.__new__(ProxyStateManager)
assert manager._start_fallback_proxy_if_needed("node", "127.0.0.1", "instance") is None

server = uvicorn.Server(uvicorn.Config(lambda *_: None))
async def serve():
    looks = 0
    async def on_tick(counter):
        nonlocal looks
        assert counter % 10 == 0  # else uvicorn would not renew the date
        looks += 1
        return looks == 3
    server.on_tick = on_tick
    preloaded.TICK_S = 0.0
    await server.main_loop()
    assert looks == 3
asyncio.run(serve())
"""


def test_no_second_proxy_is_started_and_servers_look_less_often():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
