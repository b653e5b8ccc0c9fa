"""A real gateway process for tests: Ray Serve behind HAProxy, on the test session's servers."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from services.core.addresses import Addresses, write_addresses
from services.runtime.ports import free_port

READY_WITHIN_S = 180.0


@dataclass(frozen=True)
class GatewayProcess:
    """A running gateway and a client of it."""

    home: Path
    port: int
    process: subprocess.Popen
    client: httpx.Client

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def members(self) -> list[psutil.Process]:
        """All processes of this gateway: they inherit its port from its environment."""
        return [p for p in psutil.process_iter() if _environment(p).get("PORTRAIT_PORT") == str(self.port)]


def apply_features(home: Path) -> None:
    """`feast apply` on the servers that the home's addresses name."""
    command = [sys.executable, "-m", "feature_repo.registry_sync", "apply"]
    environment = os.environ | {"PORTRAIT_HOME": str(home)}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


@contextmanager
def running_gateway(home: Path, addresses: Addresses, **settings: str) -> Iterator[GatewayProcess]:
    """`python -m services.serve.main` on a free port, ready; ended with SIGTERM."""
    write_addresses(home, addresses)
    port = free_port()
    environment = os.environ | {"PORTRAIT_HOME": str(home), "PORTRAIT_PORT": str(port)}
    environment |= {f"PORTRAIT_{name}": value for name, value in settings.items()}
    process = subprocess.Popen([sys.executable, "-m", "services.serve.main"], env=environment, start_new_session=True)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, transport=_retrying()) as client:
            gateway = GatewayProcess(home, port, process, client)
            wait_until_ready(gateway)
            yield gateway
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=60)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def wait_until_ready(gateway: GatewayProcess, within_s: float = READY_WITHIN_S) -> None:
    """Until `/readyz` answers 200. Raises AssertionError when the process ends or time is up."""
    deadline = time.monotonic() + within_s
    said = "nothing"
    while time.monotonic() < deadline:
        assert gateway.process.poll() is None, f"the gateway ended with status {gateway.process.returncode}"
        try:
            answer = gateway.client.get("/readyz")
            if answer.status_code == 200:
                return
            said = answer.text
        except httpx.TransportError as error:
            said = repr(error)
        time.sleep(0.2)
    raise AssertionError(f"the gateway is not ready after {within_s} s; last answer: {said}")


def eventually(check, within_s: float = 20.0):
    """What `check` returns as soon as it is true. Raises AssertionError when it never is."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        found = check()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {within_s} s: {check}")


def _retrying() -> httpx.HTTPTransport:
    return httpx.HTTPTransport(retries=2)  # HAProxy closes kept connections when its configuration changes


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except (psutil.Error, OSError):
        return {}
