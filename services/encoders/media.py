"""Fetching product pictures and videos: from public addresses, or from the media folder; bounded in size and time."""

import os
import stat
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from urllib.parse import unquote, urlsplit

import httpcore
import httpx

from services.encoders.guarded_network import GuardedBackend, PrivateAddress, Resolver, resolve
from services.encoders.media_types import WRONG_KIND, MediaKind, MediaReason, content_type_fits, looks_like

REDIRECTS = frozenset((301, 302, 303, 307, 308))
MIB = 1024 * 1024


@dataclass(frozen=True)
class FetchPolicy:
    """Limits of a fetch. `timeout_s` bounds the whole fetch, redirects included.

    `media_root` is the only folder that `file:` URLs and plain paths may point into; None refuses them all.
    `allow_private` lets loopback and private addresses through: for tests, and for shops whose pictures stand on an
    internal host.
    """

    max_bytes: int = 10 * MIB
    max_video_bytes: int = 100 * MIB
    timeout_s: float = 15.0
    media_root: Path | None = None
    max_redirects: int = 4
    workers: int = 8
    allow_private: bool = False
    user_agent: str = "Portrait/1 (product media)"

    def limit(self, kind: MediaKind) -> int:
        return self.max_bytes if kind is MediaKind.IMAGE else self.max_video_bytes


@dataclass(frozen=True)
class MediaResult:
    """The bytes, or the reason why there are none; exactly one of them is None."""

    data: bytes | None
    reason: MediaReason | None = None


class _Refused(Exception):
    def __init__(self, reason: MediaReason) -> None:
        super().__init__(reason)
        self.reason = reason


class MediaFetcher:
    """Fetches media; thread-safe. Close it, or use it as a context manager."""

    def __init__(self, policy: FetchPolicy | None = None, *, resolver: Resolver = resolve) -> None:
        self.policy = policy or FetchPolicy()
        self._pool = httpcore.ConnectionPool(
            max_connections=self.policy.workers,
            max_keepalive_connections=self.policy.workers,
            keepalive_expiry=10,
            network_backend=GuardedBackend(allow_private=self.policy.allow_private, resolver=resolver),
        )

    def __enter__(self) -> "MediaFetcher":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._pool.close()

    def fetch(self, url: str, kind: MediaKind = MediaKind.IMAGE) -> MediaResult:
        """The media behind an http(s) URL, a `file:` URL or a path below `media_root`. Never raises for bad media."""
        try:
            data = self._read(url, kind)
            if not data:
                return MediaResult(None, MediaReason.EMPTY)
            if not looks_like(data, kind):
                return MediaResult(None, WRONG_KIND[kind])
            return MediaResult(data)
        except _Refused as refused:
            return MediaResult(None, refused.reason)
        except PrivateAddress:
            return MediaResult(None, MediaReason.PRIVATE_ADDRESS)
        except httpcore.TimeoutException:
            return MediaResult(None, MediaReason.TIMEOUT)
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol):
            return MediaResult(None, MediaReason.UNREACHABLE)
        except (httpx.InvalidURL, ValueError):
            return MediaResult(None, MediaReason.BAD_URL)

    def fetch_iter(self, urls: Iterable[str], kind: MediaKind = MediaKind.IMAGE) -> Iterator[MediaResult]:
        """Results in the order of `urls`; at most 2 × `workers` are under way or held."""
        waiting: deque[Future[MediaResult]] = deque()
        with ThreadPoolExecutor(max_workers=self.policy.workers) as threads:
            for url in urls:
                waiting.append(threads.submit(self.fetch, url, kind))
                if len(waiting) >= 2 * self.policy.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def fetch_many(self, urls: Iterable[str], kind: MediaKind = MediaKind.IMAGE) -> list[MediaResult]:
        """`fetch` of each, concurrently, in order. Holds all bytes: for many media use `fetch_iter`."""
        return list(self.fetch_iter(urls, kind))

    def _read(self, url: str, kind: MediaKind) -> bytes:
        scheme = urlsplit(url).scheme.lower()
        if scheme in ("http", "https"):
            return self._read_http(httpx.URL(url), kind)
        if scheme == "file":
            parts = urlsplit(url)
            if parts.netloc not in ("", "localhost"):
                raise _Refused(MediaReason.OUTSIDE_MEDIA_ROOT)
            return read_local(unquote(parts.path), self.policy.media_root, self.policy.limit(kind))
        if scheme:
            raise _Refused(MediaReason.UNSUPPORTED_SCHEME)
        return read_local(url, self.policy.media_root, self.policy.limit(kind))

    def _read_http(self, url: httpx.URL, kind: MediaKind) -> bytes:
        deadline = time.monotonic() + self.policy.timeout_s
        for _ in range(self.policy.max_redirects + 1):
            if url.scheme not in ("http", "https") or not url.host or url.userinfo or (url.port or 0) > 65_535:
                raise _Refused(MediaReason.BAD_URL)
            outcome = self._request(url, kind, deadline)
            if isinstance(outcome, bytes):
                return outcome
            url = outcome
        raise _Refused(MediaReason.TOO_MANY_REDIRECTS)

    def _request(self, url: httpx.URL, kind: MediaKind, deadline: float) -> bytes | httpx.URL:
        """One request: the body, or the address it redirects to."""
        headers = {
            "Host": url.netloc.decode("ascii"),
            "Accept": f"{kind}/*",
            "Accept-Encoding": "identity",
            "User-Agent": self.policy.user_agent,
        }
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        left = max(0.001, deadline - time.monotonic())
        timeout = {"connect": left, "read": left, "write": left, "pool": left}
        with self._pool.stream("GET", target, headers=headers, extensions={"timeout": timeout}) as response:
            fields = {name.lower(): value.decode("latin-1") for name, value in response.headers}
            if response.status in REDIRECTS and b"location" in fields:
                return url.join(fields[b"location"])
            if response.status != 200:
                raise _Refused(MediaReason.HTTP_ERROR)
            return self._body(response, fields, kind, deadline)

    def _body(self, response: httpcore.Response, fields: dict[bytes, str], kind: MediaKind, deadline: float) -> bytes:
        limit = self.policy.limit(kind)
        if not content_type_fits(fields.get(b"content-type", ""), kind):
            raise _Refused(WRONG_KIND[kind])
        declared = fields.get(b"content-length", "")
        if declared.isdigit() and int(declared) > limit:
            raise _Refused(MediaReason.TOO_LARGE)
        body = bytearray()
        for chunk in response.iter_stream():
            body += chunk
            if len(body) > limit:
                raise _Refused(MediaReason.TOO_LARGE)
            if time.monotonic() > deadline:  # a server that drips bytes never runs into the read timeout
                raise _Refused(MediaReason.TIMEOUT)
        return bytes(body)


def count_reasons(results: Iterable[MediaResult]) -> dict[str, int]:
    """How often each reason occurred."""
    return dict(Counter(str(result.reason) for result in results if result.reason is not None))


def read_local(path: str, root: Path | None, limit: int) -> bytes:
    """A regular file below `root`, links followed before the check. Raises `_Refused` otherwise."""
    if root is None:
        raise _Refused(MediaReason.OUTSIDE_MEDIA_ROOT)
    if not path or "\0" in path:
        raise _Refused(MediaReason.BAD_URL)
    base = root.resolve()
    try:
        found = (base / path).resolve()
        if not found.is_relative_to(base):
            raise _Refused(MediaReason.OUTSIDE_MEDIA_ROOT)
        # without O_NONBLOCK a named pipe would hang us; O_NOFOLLOW: the last part became a link meanwhile
        handle = os.open(found, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (OSError, RuntimeError) as error:
        raise _Refused(MediaReason.NOT_FOUND) from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise _Refused(MediaReason.NOT_FOUND)
        if status.st_size > limit:
            raise _Refused(MediaReason.TOO_LARGE)
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(limit)
    finally:
        os.close(handle)
