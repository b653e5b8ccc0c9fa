import os
import signal
import subprocess
import threading
from pathlib import Path

import orjson

from services.serve.environment import HelperPorts, RayFolders, ray_environment
from services.serve.haproxy import write_launcher
from services.serve.signals import stop_on_signals

CONFIG = """global
    log 127.0.0.1:514 local0 info
    stats socket /x/admin.sock mode 666 level admin expose-fd listeners
    errorfile 502 /x/500.http
    errorfile 503 /x/500.http
defaults
    log global
    option httplog
    option http-server-close
frontend prometheus
    bind :9101
    mode http
frontend http_frontend
    bind 10.0.0.5:8000
backend default_backend
    http-request return status 404 content-type text/plain lf-string "Path \\'%[path]\\' not found. Ping http://x"
listen stats
  bind *:8404
  stats enable
  no log
"""


def test_the_launcher_corrects_the_configuration_and_becomes_the_real_binary(tmp_path: Path):
    config, binary = tmp_path / "haproxy.cfg", tmp_path / "real haproxy"
    config.write_text(CONFIG)
    binary.write_text('#!/bin/sh\nprintf "%s " "$@"\n')
    binary.chmod(0o700)
    launcher = write_launcher(tmp_path, str(binary))
    said = subprocess.run([launcher, "-db", "-f", config, "-sf", "17"], check=True, capture_output=True, text=True)
    assert said.stdout == f"-db -f {config} -sf 17 "
    text = config.read_text()
    assert "    bind 127.0.0.1:9101\n" in text and "  bind 127.0.0.1:8404\n" in text
    assert "    bind 10.0.0.5:8000\n" in text
    assert "mode 600 level admin" in text
    assert "514" not in text and "log global" not in text and "httplog" not in text
    assert "    option http-server-close\n" in text and "  no log\n" in text
    assert text.count("set-header x-portrait-arrived %[date(0,us)]\n") == 1
    assert text.count("set-header x-portrait-client %[src]\n") == 1
    assert text.index("frontend http_frontend") < text.index("x-portrait-arrived") < text.index("listen stats")


def test_a_gateway_that_is_to_be_reached_from_everywhere_is(tmp_path: Path):
    config, binary = tmp_path / "haproxy.cfg", tmp_path / "binary"
    config.write_text(CONFIG.replace("bind 10.0.0.5:8000", "bind *:8000"))
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o700)
    subprocess.run([write_launcher(tmp_path, str(binary)), "-f", config], check=True)
    text = config.read_text()
    assert "    bind *:8000\n" in text and text.count("bind 127.0.0.1:") == 2


def test_without_a_gateway_callers_get_a_problem_that_tells_them_to_come_back(tmp_path: Path):
    config, binary = tmp_path / "haproxy.cfg", tmp_path / "binary"
    config.write_text(CONFIG)
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o700)
    subprocess.run([write_launcher(tmp_path, str(binary)), "-f", config], check=True)
    text = config.read_text()
    assert "plain" not in text and "500.http" not in text
    assert f"errorfile 503 {tmp_path}/down.http" in text and f"file {tmp_path}/down.json hdr Retry-After 2" in text
    head, _, body = (tmp_path / "down.http").read_bytes().partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head and b"503 Service Unavailable" in head
    assert body == (tmp_path / "down.json").read_bytes() and orjson.loads(body)["code"] == "not-ready"


def test_two_homes_share_no_file_and_no_port(tmp_path: Path):
    first, second = (ray_environment(tmp_path / n, tmp_path / n / "x", HelperPorts(*p)) for n, p in
                     (("a", (1, 2)), ("b", (3, 4))))  # fmt: skip
    own = [name for name in first if name.endswith(("_LOC", "_PATH", "_BASE", "_FILE", "_PORT"))]
    assert len(own) >= 6
    assert all(first[name] != second[name] for name in own)


def test_ray_is_kept_on_loopback_and_reports_nothing(tmp_path: Path):
    environment = ray_environment(tmp_path, tmp_path / "x", HelperPorts(1, 2))
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
