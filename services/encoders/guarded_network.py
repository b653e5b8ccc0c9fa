"""Connections to public addresses only, so that a shop's picture URLs cannot reach into the network behind us (SSRF).

The check is made where the connection is made, on the very address connected to: it also covers redirects and names
that resolve differently the second time (DNS rebinding).
"""

import ipaddress
import socket
from collections.abc import Callable, Iterable
from typing import Any

import httpcore

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], list[str]]

NAT64 = ipaddress.ip_network("64:ff9b::/96")


class PrivateAddress(Exception):
    """The host resolves to an address that is not public."""


def is_public(text: str) -> bool:
    """Whether the address is globally reachable unicast, also looking inside IPv6 forms that carry an IPv4 address."""
    address = ipaddress.ip_address(text.split("%", 1)[0])
    return all(inner.is_global and not inner.is_multicast and not inner.is_reserved for inner in _unwrapped(address))


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, in the system's order.

    Raises:
        OSError: the name does not resolve.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class GuardedBackend(httpcore.NetworkBackend):
    """Resolves, checks, and connects to a checked address. TLS still verifies the host's name."""

    def __init__(self, *, allow_private: bool = False, resolver: Resolver = resolve) -> None:
        self._allow_private = allow_private
        self._resolve = resolver
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            addresses = self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} does not resolve") from error
        if not self._allow_private and not all(is_public(address) for address in addresses):
            raise PrivateAddress(host)
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in addresses:
            try:
                return self._plain.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    def connect_unix_socket(self, path: str, *args: Any, **options: Any) -> httpcore.NetworkStream:
        raise PrivateAddress(path)

    def sleep(self, seconds: float) -> None:
        self._plain.sleep(seconds)


def _unwrapped(address: IpAddress) -> list[IpAddress]:
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in NAT64:
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    found = [part for part in inner if part is not None]
    # a mapped or translated address is as public as the IPv4 address in it; any other is judged as it stands
    return found or [address]
