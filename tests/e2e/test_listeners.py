"""Who can reach what the default stack opens: this machine alone, whichever process opened it."""

import ipaddress
import socket

import psutil

from services.runtime.state import read_state


def test_every_socket_of_every_process_is_bound_to_loopback(stack) -> None:
    state = read_state(stack.home)
    assert state is not None
    supervisor = psutil.Process(state.pid)
    processes = [supervisor, *supervisor.children(recursive=True)]
    opened = [(process.name(), found) for process in processes for found in _opened(process)]
    names = {name for name, _ in opened}
    assert {"valkey-server", "haproxy", "raylet", "gcs_server"} <= names, "the stack's own listeners were not seen"
    assert [(name, str(found.laddr)) for name, found in opened if not _on_loopback(found.laddr.ip)] == []


def _opened(process: psutil.Process) -> list:
    """Listening TCP sockets, and UDP sockets that anybody may send to."""
    try:
        connections = process.net_connections("inet")
    except psutil.NoSuchProcess:
        return []
    return [c for c in connections if c.laddr and (c.status == psutil.CONN_LISTEN or _unconnected_udp(c))]


def _unconnected_udp(connection) -> bool:
    return connection.type == socket.SOCK_DGRAM and not connection.raddr


def _on_loopback(address: str) -> bool:
    found = ipaddress.ip_address(address)
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback
