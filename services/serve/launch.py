"""Start Ray and Ray Serve with the gateway, wait, and take both down."""

import os
import shutil
import threading
import time

import ray
from ray import serve
from ray.serve.config import HTTPOptions
from ray.serve.schema import LoggingConfig

from services.core.logging import get_logger
from services.core.settings import Settings
from services.serve.deployment import Gateway
from services.serve.encoder import Encoder
from services.serve.encoder_client import APPLICATION
from services.serve.environment import LOOPBACK, RayFolders
from services.serve.head import HEAD, ended, head_processes
from services.serve.helpers import without_dashboard, without_helpers
from services.serve.signals import announce_stop, stop_on_signals

MAX_ONGOING = 10_000
"""More than HAProxy lets in at once (4,096): requests never wait inside Ray, where nothing measures or bounds it."""
NOTICE_S = 0.5
"""How long the gateway says that it is not ready before it stops taking requests."""
OBJECT_STORE_BYTES = 80 << 20
"""Next to Ray's minimum: requests put nothing into it."""
LOOK_S = 0.5
"""How often it is looked whether Ray's own processes live."""

log = get_logger("serve")


def run_until(stop: threading.Event, settings: Settings, replicas: int) -> None:
    """Serve until `stop` is set."""
    folders = RayFolders.of(settings.home)
    without_helpers()
    ray.init(
        num_cpus=max(2, replicas + 1),
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        configure_logging=False,
        log_to_driver=False,
        namespace=APPLICATION,
        _temp_dir=str(folders.session),
        _node_ip_address=LOOPBACK,
    )
    without_dashboard()
    stop_on_signals(stop)
    try:
        serve.start(http_options=HTTPOptions(host=settings.bind, port=settings.port), proxy_location="HeadOnly")
        serve.run(
            Gateway.options(
                num_replicas=replicas,
                max_ongoing_requests=MAX_ONGOING,
                max_queued_requests=-1,  # as above; services/serve/admission.py decides who is let in
                ray_actor_options={"num_cpus": 0},
                logging_config=LoggingConfig(enable_access_log=False),
            ).bind(Encoder.bind()),
            name=APPLICATION,
            route_prefix="/",
        )
        log.info("serving", host=settings.bind, port=settings.port, replicas=replicas)
        _wait_while_ray_lives(stop)
        announce_stop(settings.home)
        time.sleep(NOTICE_S)
    finally:
        serve.shutdown()
        ray.shutdown()
        for folder in (folders.session, folders.haproxy):
            shutil.rmtree(folder, ignore_errors=True)


def _wait_while_ray_lives(stop: threading.Event) -> None:
    """Return when `stop` is set. Where a process of Ray's head has ended, end this one, for its supervisor to start it
    again: nobody else would, and an orderly end would wait for the process that is gone."""
    processes = head_processes()
    assert len(processes) == len(HEAD), f"Ray's head has other processes than {HEAD}: {processes}"
    while not stop.wait(LOOK_S):
        lost = ended(processes)
        if lost:
            log.error("ray-died", processes=lost)
            os._exit(1)
