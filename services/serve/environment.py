"""What Ray, Ray Serve and HAProxy read from the environment, per home: fast, private, and out of other stacks' way."""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class RayFolders:
    """Folders of one home's Ray and HAProxy.

    Ray's sockets need a short path, so `session` lies in the system's temporary folder under a digest of the home.
    """

    session: Path
    haproxy: Path

    @classmethod
    def of(cls, home: Path) -> "RayFolders":
        digest = hashlib.sha256(str(home).encode()).hexdigest()[:10]
        temporary = Path(tempfile.gettempdir())
        return cls(session=temporary / f"portrait-ray-{digest}", haproxy=temporary / f"portrait-ha-{digest}")


@dataclass(frozen=True)
class HelperPorts:
    """Loopback ports of HAProxy's own pages."""

    stats: int
    metrics: int


def ray_environment(home: Path, launcher: Path, ports: HelperPorts) -> dict[str, str]:
    """The variables to set before Ray is imported (each one's effect was measured or is a matter of privacy)."""
    folder = RayFolders.of(home).haproxy
    return {
        # Speed: HAProxy in front, handlers on the replica's main event loop, no access log.
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
        "RAY_SERVE_LOG_TO_STDERR": "0",
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        # Ray runs workers at niceness 15; a gateway is what its machine is for.
        "RAY_worker_niceness": "0",
        # Rest: what Ray and Serve look at, report and count many times a second, once a second or not at all. Replicas
        # that died are noticed by HAProxy's own checks, within the same second, and started again a second later.
        "RAY_preload_python_modules": "services.serve.preloaded",
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "1",
        "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "10000",
        "RAY_enable_metrics_collection": "0",
        "RAY_task_events_report_interval_ms": "0",
        "RAY_raylet_report_resources_period_milliseconds": "1000",
        "RAY_ray_syncer_message_refresh_interval_ms": "10000",
        "RAY_io_context_event_loop_lag_collection_interval_ms": "60000",
        "RAY_local_gc_interval_s": "36000",
        "RAY_gcs_pull_resource_loads_period_milliseconds": "10000",
        "RAY_report_worker_backlog_interval_ms": "10000",
        "RAY_kill_idle_workers_interval_ms": "5000",
        "RAY_local_fs_monitor_interval_ms": "10000",
        "RAY_io_context_monitor_probe_interval_ms": "60000",
        "RAY_memory_monitor_refresh_ms": "2000",
        "RAY_SERVE_EVENT_LOOP_MONITORING_INTERVAL_S": "60",
        "REPORTER_UPDATE_INTERVAL_MS": "60000",
        "RAY_DASHBOARD_AGENT_LOOP_MONITOR_INTERVAL_S": "60",
        "RAY_worker_num_grpc_internal_threads": "1",
        "RAY_event_stats": "0",
        "RAY_raylet_check_gc_period_milliseconds": "10000",
        "RAY_object_manager_timer_freq_ms": "1000",
        "RAY_debug_dump_period_milliseconds": "0",
        "RAY_core_worker_internal_heartbeat_ms": "10000",
        "RAY_free_objects_period_milliseconds": "10000",
        "RAY_ray_events_report_interval_ms": "60000",
        "RAY_emit_main_service_metrics": "0",
        # Privacy: nothing is reported, nothing listens beyond the address that was asked for.
        "RAY_USAGE_STATS_ENABLED": "0",
        # The name says Windows and macOS; what it does is keep this node's address, and so every listener, on loopback.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(launcher),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(ports.stats),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(ports.metrics),
        # Each home has its own files, or two stacks on one machine would overwrite each other's.
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        # The less busy of two replicas drawn at random: as fair as the least busy of all, before whose choice HAProxy
        # pauses where a replica does not answer.
        "RAY_SERVE_HAPROXY_BALANCE_ALGORITHM": "random(2)",
        # A killed HAProxy is noticed after three of these (Ray's default: 30 s in which nothing is answered).
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
        # Who neither sends nor takes anything for a minute has gone (Ray's default: an hour).
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "60",
        # A stop is quick: in-flight requests take milliseconds.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0.5",
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "2",
    }
