"""`python -m services.serve.main`: Ray Serve with the gateway, in the foreground until SIGTERM or SIGINT."""

import os
import shutil
import socket
import sys
import threading

from services.core.addresses import resolve_addresses
from services.core.errors import PortraitError
from services.core.logging import configure_logging, get_logger
from services.core.settings import get_settings
from services.serve.environment import LOOPBACK, HelperPorts, RayFolders, ray_environment
from services.serve.haproxy import write_launcher
from services.serve.signals import stop_on_signals


def main() -> int:
    """Serve until told to stop. Exit status 1 with one clear message where it cannot start."""
    settings = get_settings()
    configure_logging(settings.log_level)
    try:
        resolve_addresses(settings)  # before Ray starts: the message is better and comes at once
    except PortraitError as error:
        get_logger("serve").error("cannot-start", detail=error.detail)
        return 1
    folders = RayFolders.of(settings.home)
    for folder in (folders.session, folders.haproxy):
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    os.environ.update(ray_environment(settings.home, write_launcher(folders.haproxy), _helper_ports()))
    stop = threading.Event()
    stop_on_signals(stop)

    from services.serve.launch import run_until  # noqa: PLC0415 - Ray reads its environment when it is imported

    run_until(stop, settings, replicas=1)
    return 0


def _helper_ports() -> HelperPorts:
    """Two free ports, held together so that they differ."""
    with socket.socket() as stats, socket.socket() as metrics:
        for probe in (stats, metrics):
            probe.bind((LOOPBACK, 0))
        return HelperPorts(*(probe.getsockname()[1] for probe in (stats, metrics)))


if __name__ == "__main__":
    sys.exit(main())
