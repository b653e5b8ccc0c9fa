"""Fetching: public addresses or the media folder, within size and time, and a stable reason otherwise."""

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpcore
import pytest

from services.encoders.guarded_network import GuardedBackend, PrivateAddress, is_public
from services.encoders.media import FetchPolicy, MediaFetcher, MediaResult, count_reasons
from services.encoders.media_types import MediaKind, MediaReason

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 100
MP4 = b"\0\0\0\x18ftypisom" + b"\0" * 100


class Shop(BaseHTTPRequestHandler):
    """A server with one of everything that goes wrong."""

    def do_GET(self) -> None:
        name = self.path.split("?")[0].strip("/")
        answer = getattr(self, f"_{name.split('/')[0]}", None)
        if answer is None:
            self.send_error(404)
        else:
            answer()

    def _send(self, body: bytes, kind: str = "image/png", status: int = 200, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def _good(self) -> None:
        self._send(PNG)

    def _video(self) -> None:
        self._send(MP4, "video/mp4")

    def _untyped(self) -> None:
        self._send(PNG, "application/octet-stream")

    def _html(self) -> None:
        self._send(b"<html>", "text/html")

    def _lying(self) -> None:
        self._send(b"<script>alert(1)</script>", "image/png")

    def _empty(self) -> None:
        self._send(b"")

    def _declared(self) -> None:
        self._send(PNG, **{"Content-Length": "99999999"})

    def _endless(self) -> None:
        self._send(PNG)
        try:
            for _ in range(1_000):
                self.wfile.write(b"\0" * 65_536)
        except OSError:
            self.close_connection = True

    def _drip(self) -> None:
        self._send(PNG)
        try:
            while not self.server.stopping.wait(0.05):
                self.wfile.write(b"\0")
                self.wfile.flush()
        except OSError:
            self.close_connection = True

    def _loop(self) -> None:
        self._send(b"", status=302, Location="/loop")

    def _once(self) -> None:
        self._send(b"", status=301, Location="good?x=1")

    def _inside(self) -> None:
        self._send(b"", status=302, Location="http://internal.test/good")

    def _tofile(self) -> None:
        self._send(b"", status=302, Location="file:///etc/passwd")

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    server.stopping = threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.stopping.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def trusting() -> Iterator[MediaFetcher]:
    with MediaFetcher(FetchPolicy(max_bytes=200_000, timeout_s=5, allow_private=True)) as fetcher:
        yield fetcher


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("html", MediaReason.NOT_AN_IMAGE),
        ("lying", MediaReason.NOT_AN_IMAGE),
        ("video", MediaReason.NOT_AN_IMAGE),
        ("empty", MediaReason.EMPTY),
        ("declared", MediaReason.TOO_LARGE),
        ("endless", MediaReason.TOO_LARGE),
        ("loop", MediaReason.TOO_MANY_REDIRECTS),
        ("missing", MediaReason.HTTP_ERROR),
        ("tofile", MediaReason.BAD_URL),
    ],
)
def test_each_failure_has_its_reason(shop: str, trusting: MediaFetcher, path: str, reason: MediaReason) -> None:
    assert trusting.fetch(f"{shop}/{path}") == MediaResult(None, reason)


@pytest.mark.parametrize("path", ["good", "untyped", "once"])
def test_pictures_arrive_whole(shop: str, trusting: MediaFetcher, path: str) -> None:
    assert trusting.fetch(f"{shop}/{path}") == MediaResult(PNG, None)


def test_videos_arrive_as_videos(shop: str, trusting: MediaFetcher) -> None:
    assert trusting.fetch(f"{shop}/video", MediaKind.VIDEO) == MediaResult(MP4, None)
    assert trusting.fetch(f"{shop}/good", MediaKind.VIDEO).reason is MediaReason.NOT_A_VIDEO


def test_a_dripping_server_runs_into_the_deadline(shop: str) -> None:
    with MediaFetcher(FetchPolicy(timeout_s=0.3, allow_private=True)) as fetcher:
        assert fetcher.fetch(f"{shop}/drip").reason is MediaReason.TIMEOUT


def test_nobody_listening_is_unreachable(trusting: MediaFetcher) -> None:
    assert trusting.fetch("http://127.0.0.1:1/x.png").reason is MediaReason.UNREACHABLE


def test_loopback_is_refused_unless_allowed(shop: str) -> None:
    port = shop.rsplit(":", 1)[1]
    with MediaFetcher() as fetcher:
        for host in ("127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1", "[::1]", "[::ffff:127.0.0.1]"):
            assert fetcher.fetch(f"http://{host}:{port}/good").reason is MediaReason.PRIVATE_ADDRESS, host


def test_a_name_that_resolves_to_a_private_address_is_refused() -> None:
    with MediaFetcher(resolver=lambda host, port: ["93.184.215.14", "10.0.0.7"]) as fetcher:
        assert fetcher.fetch("http://rebinding.test/a.png").reason is MediaReason.PRIVATE_ADDRESS


def test_a_redirect_into_the_private_network_is_refused(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first host counts as public here, as a stranger's shop would; its redirect goes to 10.0.0.7."""
    port = int(shop.rsplit(":", 1)[1])
    asked: list[str] = []

    def resolver(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["10.0.0.7"] if host == "internal.test" else ["127.0.0.1"]

    monkeypatch.setattr("services.encoders.guarded_network.is_public", lambda address: address == "127.0.0.1")
    with MediaFetcher(resolver=resolver) as fetcher:
        assert fetcher.fetch(f"http://shop.test:{port}/inside").reason is MediaReason.PRIVATE_ADDRESS
    assert asked == ["shop.test", "internal.test"]


def test_the_connection_goes_to_the_address_that_was_checked(shop: str) -> None:
    """A second resolution could answer differently: there must be none."""
    answers = iter([["127.0.0.1"]])
    backend = GuardedBackend(allow_private=True, resolver=lambda host, port: next(answers))
    backend.connect_tcp("shop.test", int(shop.rsplit(":", 1)[1]), timeout=2).close()
    with pytest.raises(StopIteration):
        next(answers)


def test_a_name_that_does_not_resolve_is_a_connection_error() -> None:
    def nowhere(host: str, port: int) -> list[str]:
        raise OSError("no such host")

    with pytest.raises(httpcore.ConnectError):
        GuardedBackend(resolver=nowhere).connect_tcp("nowhere.test", 80)
    with pytest.raises(PrivateAddress):
        GuardedBackend().connect_unix_socket("/run/docker.sock")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "198.18.0.1", "240.0.0.1", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1",
        "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.215.14", "2606:4700::1111", "64:ff9b::808:808"])
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://x.test/a.png", MediaReason.UNSUPPORTED_SCHEME),
        ("data:image/png;base64,AAAA", MediaReason.UNSUPPORTED_SCHEME),
        ("javascript:alert(1)", MediaReason.UNSUPPORTED_SCHEME),
        ("http://", MediaReason.BAD_URL),
        ("http://[::1", MediaReason.BAD_URL),
        ("http://user:secret@8.8.8.8/a.png", MediaReason.BAD_URL),
        ("http://x.test:99999/a.png", MediaReason.BAD_URL),
        ("http://\ud800.test/", MediaReason.BAD_URL),
        ("", MediaReason.OUTSIDE_MEDIA_ROOT),
        ("picture.png", MediaReason.OUTSIDE_MEDIA_ROOT),
    ],
)
def test_strange_urls_have_their_reason(url: str, reason: MediaReason) -> None:
    with MediaFetcher() as fetcher:
        assert fetcher.fetch(url).reason is reason


def test_local_files_come_from_the_media_folder_alone(tmp_path: Path) -> None:
    root = tmp_path / "media"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "a b.png").write_bytes(PNG)
    (root / "big.png").write_bytes(PNG + b"\0" * 5_000)
    (tmp_path / "secret.png").write_bytes(PNG)
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "inner.png").symlink_to(root / "sub" / "a b.png")
    os.mkfifo(root / "pipe.png")
    with MediaFetcher(FetchPolicy(media_root=root, max_bytes=1_000)) as fetcher:
        found = {
            url: fetcher.fetch(url).reason
            for url in (
                "sub/a b.png", "inner.png", f"file://{root}/sub/a%20b.png", "file:sub/a%20b.png",
                "../secret.png", "link.png", "/etc/passwd", "file:///etc/passwd", "file:sub/%2e%2e/%2e%2e/secret.png",
                "file://host/x.png", "none.png", "sub", "pipe.png", "big.png", "a\0b",
            )
        }  # fmt: skip
    outside, missing = MediaReason.OUTSIDE_MEDIA_ROOT, MediaReason.NOT_FOUND
    assert list(found.values()) == [
        None, None, None, None,
        outside, outside, outside, outside, outside,
        outside, missing, missing, missing, MediaReason.TOO_LARGE, MediaReason.BAD_URL,
    ]  # fmt: skip


def test_many_are_fetched_in_order_and_counted(shop: str, trusting: MediaFetcher) -> None:
    results = trusting.fetch_many([f"{shop}/{path}" for path in ["good", "html", "missing"] * 10])
    assert [result.data is not None for result in results] == [True, False, False] * 10
    assert count_reasons(results) == {"not-an-image": 10, "http-error": 10}


def test_fetching_many_reads_ahead_only_a_little(shop: str, trusting: MediaFetcher) -> None:
    asked: list[int] = []

    def urls() -> Iterator[str]:
        for i in range(1_000):
            asked.append(i)
            yield f"{shop}/good"

    stream = trusting.fetch_iter(urls())
    next(stream)
    assert len(asked) == 2 * trusting.policy.workers
    stream.close()
