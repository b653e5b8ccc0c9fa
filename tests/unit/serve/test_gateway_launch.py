import os
import signal
import subprocess
import threading
from pathlib import Path

from services.serve.environment import HelperPorts, RayFolders, ray_environment
from services.serve.haproxy import SCRIPT
from services.serve.signals import stop_on_signals

CONFIG = """global
    stats socket /x/admin.sock mode 666 level admin expose-fd listeners
frontend prometheus
    bind :9101
    mode http
frontend http_frontend
    bind 10.0.0.5:8000
listen stats
  bind *:8404
  stats enable
"""


def test_the_launcher_moves_haproxys_own_pages_to_loopback_and_nothing_else(tmp_path: Path):
    config, launcher, binary = tmp_path / "haproxy.cfg", tmp_path / "launcher", tmp_path / "real haproxy"
    config.write_text(CONFIG)
    binary.write_text('#!/bin/sh\nprintf "%s " "$@"\n')
    launcher.write_text(SCRIPT.format(binary=binary))
    for script in (launcher, binary):
        script.chmod(0o700)
    said = subprocess.run([launcher, "-db", "-f", config, "-sf", "17"], check=True, capture_output=True, text=True)
    assert said.stdout == f"-db -f {config} -sf 17 "
    text = config.read_text()
    assert "    bind 127.0.0.1:9101\n" in text and "  bind 127.0.0.1:8404\n" in text
    assert "    bind 10.0.0.5:8000\n" in text
    assert "mode 600 level admin" in text


def test_two_homes_share_no_file_and_no_port(tmp_path: Path):
    first, second = (ray_environment(tmp_path / n, tmp_path / n / "x", HelperPorts(*p)) for n, p in
                     (("a", (1, 2, 3)), ("b", (4, 5, 6))))  # fmt: skip
    own = [name for name in first if name.endswith(("_LOC", "_PATH", "_BASE", "_FILE", "_PORT"))]
    assert len(own) >= 7
    assert all(first[name] != second[name] for name in own)


def test_ray_is_kept_on_loopback_and_reports_nothing(tmp_path: Path):
    environment = ray_environment(tmp_path, tmp_path / "x", HelperPorts(1, 2, 3))
    assert environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    assert environment["RAY_USAGE_STATS_ENABLED"] == "0"


def test_rays_sockets_fit_whatever_the_home(tmp_path: Path):
    folders = RayFolders.of(Path("/srv") / ("very-long-name" * 20))
    longest = folders.session / "session_2026-11-23_19-25-01_157182_1234567" / "sockets" / "plasma_store"
    assert len(str(longest)) <= 103


def test_a_signal_stops_instead_of_killing():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    stop = threading.Event()
    try:
        stop_on_signals(stop)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(5)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
