"""Ray Serve's replicas open a gRPC port for calls between deployments on every interface: keep it on loopback."""

from typing import Any

from ray.serve._private import replica

from services.core.logging import get_logger

EVERYWHERE = "[::]:0"
LOOPBACK = "127.0.0.1:0"


def keep_on_loopback() -> None:
    """Bind this replica's internal port to loopback. Call it before the replica has finished starting.

    Serve has no setting for this address. Should a later version open the port in another way, the listeners' test in
    tests/e2e fails.
    """
    original = getattr(replica, "add_port_to_grpc_server", None)
    if original is None:
        get_logger("gateway").warning(
            "internal-port-open", cure="check services/serve/loopback.py with this Ray version"
        )
        return

    def add_port(server: Any, address: str, *args: Any, **kwargs: Any) -> int:
        return original(server, LOOPBACK if address == EVERYWHERE else address, *args, **kwargs)

    replica.add_port_to_grpc_server = add_port
