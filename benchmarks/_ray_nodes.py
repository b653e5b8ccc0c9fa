"""Hosts of a Ray cluster on one machine: each a network namespace with an address, a loopback and processes of its own.

Needs the right to make namespaces (root). Gateways run as `deploy/kuberay/rayservice.yaml` says: its environment, its
Serve configuration. What belongs to a pod there (folders, addresses of the servers) is named here.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from services.serve.haproxy import write_launcher

SERVICE = Path(__file__).parents[1] / "deploy" / "kuberay" / "rayservice.yaml"
NETWORK, OUTSIDE = "10.77.0", "10.77.0.254"
"""Addresses of the hosts, and this machine's among them."""
GCS_PORT, HTTP_PORT = 6379, 8000
OBJECT_STORE_BYTES = 80 << 20


@dataclass(frozen=True)
class Host:
    """A namespace `name` at `address`, with a `folder` for what its processes write."""

    name: str
    address: str
    folder: Path

    def command(self, *command: str) -> list[str]:
        """The command line that runs `command` on this host."""
        return ["ip", "netns", "exec", self.name, *command]

    def processes(self) -> list[int]:
        """Pids of everything that runs on it."""
        said = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True)
        return [int(pid) for pid in said.stdout.split()]

    def die(self) -> list[int]:
        """SIGKILL to everything that runs on it. Returns the pids, of which some may take a moment to be gone."""
        pids = self.processes()
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return pids


@contextmanager
def hosts(folder: Path, count: int) -> Iterator[list[Host]]:
    """That many hosts on one bridge; whatever runs on them at the end is killed."""
    bridge = f"pt{os.getpid()}"
    with ExitStack() as undo:
        _ip("link", "add", bridge, "type", "bridge")
        undo.callback(_ip, "link", "del", bridge)
        _ip("address", "add", f"{OUTSIDE}/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        made = [Host(f"{bridge}-{n}", f"{NETWORK}.{n}", folder / str(n)) for n in range(1, count + 1)]
        for n, host in enumerate(made, 1):
            host.folder.mkdir(parents=True)
            _ip("netns", "add", host.name)
            undo.callback(_ip, "netns", "del", host.name)
            undo.callback(host.die)
            _ip("link", "add", f"{bridge}v{n}", "type", "veth", "peer", "name", "eth0", "netns", host.name)
            _ip("link", "set", f"{bridge}v{n}", "master", bridge, "up")
            _ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", "eth0")
            _ip("-n", host.name, "link", "set", "eth0", "up")
            _ip("-n", host.name, "link", "set", "lo", "up")
        yield made


def service() -> tuple[dict[str, str], dict[str, Any]]:
    """The environment of a node and the Serve configuration, as the RayService has them."""
    manifest = next(iter(yaml.safe_load_all(SERVICE.read_text())))
    pod = manifest["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]
    environment = {entry["name"]: entry["value"] for entry in pod["containers"][0]["env"]}
    return environment, yaml.safe_load(manifest["spec"]["serveConfigV2"])


def start_nodes(nodes: Sequence[Host], environment: dict[str, str], cpus: int) -> None:
    """`ray start` on each host, the head on the first. `environment`: what the pods of all nodes have in common."""
    head = f"{nodes[0].address}:{GCS_PORT}"
    for node in nodes:
        role = ["--head", "--port", str(GCS_PORT), "--include-dashboard", "false"] if node is nodes[0] else []
        role = role or ["--address", head]
        options = ["--node-ip-address", node.address, "--num-cpus", str(cpus), "--disable-usage-stats"]
        options += ["--object-store-memory", str(OBJECT_STORE_BYTES), "--temp-dir", str(_session(node))]
        command = node.command(_tool("ray"), "start", *role, *options)
        with (node.folder / "ray.log").open("wb") as log:
            done = subprocess.run(command, env=_environment(node, environment), stdout=log, stderr=log)
        if done.returncode:
            raise RuntimeError(f"ray start failed:\n{(node.folder / 'ray.log').read_text()[-2_000:]}")


def serve(head: Host, environment: dict[str, str], config: dict[str, Any]) -> None:
    """Deploy the Serve configuration on the cluster; it starts in the background and lives as long as the host."""
    path = head.folder / "serve.yaml"
    path.write_text(yaml.safe_dump(config))
    address = {"RAY_ADDRESS": f"{head.address}:{GCS_PORT}"}
    with (head.folder / "serve.log").open("wb") as log:
        subprocess.Popen(
            head.command(_tool("serve"), "run", str(path)),
            env=_environment(head, environment) | address,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )


def proxied(head: Host) -> list[set[str]]:
    """Names of the gateway's replicas that each HAProxy of the cluster chooses from, that of the last change first.

    All write below the folder of the host that Serve was started from, whose environment it gives to its processes.
    """
    paths = sorted((head.folder / "h").glob("*/haproxy.cfg"), key=lambda path: path.stat().st_mtime, reverse=True)
    found = []
    for path in paths:
        lines = (line.split() for line in path.read_text().splitlines())
        found.append({line[1] for line in lines if line[:1] == ["server"] and "portrait-gateway" in line[1]})
    return found


def wait_until(look: Any, what: str, seconds: float) -> None:
    """Until `look()` is true. Raises RuntimeError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not look():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.2)


def _environment(node: Host, common: dict[str, str]) -> dict[str, str]:
    haproxy = node.folder / "h"
    own = {
        "PORTRAIT_HOME": str(node.folder),
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(write_launcher(haproxy)),
        # Each below a folder that Ray Serve names by 56 letters: a socket's path has room for about a hundred.
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(haproxy / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(haproxy / "s"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(haproxy),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(haproxy / "server-state"),
    }
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PORTRAIT_", "RAY_"))}
    return clean | common | own


def _session(node: Host) -> Path:
    """Ray's folder: its sockets need a short path."""
    return node.folder / "r"


def _tool(name: str) -> str:
    found = Path(sys.executable).with_name(name)
    return str(found) if found.exists() else (shutil.which(name) or name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
