"""Start Ray and Ray Serve with the gateway, wait, and take both down."""

import shutil
import threading

import ray
from ray import serve
from ray.serve.config import HTTPOptions
from ray.serve.schema import LoggingConfig

from services.core.logging import get_logger
from services.core.settings import Settings
from services.serve.deployment import Gateway
from services.serve.environment import LOOPBACK, RayFolders
from services.serve.signals import stop_on_signals

APPLICATION = "portrait"
OBJECT_STORE_BYTES = 80 << 20
"""Next to Ray's minimum: requests put nothing into it."""

log = get_logger("serve")


def run_until(stop: threading.Event, settings: Settings, replicas: int) -> None:
    """Serve until `stop` is set."""
    folders = RayFolders.of(settings.home)
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
    stop_on_signals(stop)
    try:
        serve.start(http_options=HTTPOptions(host=settings.bind, port=settings.port), proxy_location="HeadOnly")
        serve.run(
            Gateway.options(
                num_replicas=replicas,
                max_ongoing_requests=1_000,
                ray_actor_options={"num_cpus": 0},
                logging_config=LoggingConfig(enable_access_log=False),
            ).bind(),
            name=APPLICATION,
            route_prefix="/",
        )
        log.info("serving", host=settings.bind, port=settings.port, replicas=replicas)
        stop.wait()
    finally:
        serve.shutdown()
        ray.shutdown()
        for folder in (folders.session, folders.haproxy):
            shutil.rmtree(folder, ignore_errors=True)
