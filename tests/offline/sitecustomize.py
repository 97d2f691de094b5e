"""Refuses every connection that leaves this machine.

Python imports a module of this name when it starts: with this folder on PYTHONPATH the processes that a test starts are bound
as well. Java's are not; the jars that metrics run have no network code of their own to reach for.
"""

import ipaddress
import os
import socket
from typing import Any


class NetworkRefusedError(ConnectionRefusedError):
    """A test reached for the network."""


ATTEMPTS: list[str] = []
"""What was reached for, in this process."""


def is_here(host: Any) -> bool:
    """Whether a host is this machine: loopback, its own name, or no host at all (a port to listen on)."""
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if not host or host in ("localhost", socket.gethostname()):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _checked(host: Any, how: str) -> None:
    if not is_here(host):
        ATTEMPTS.append(f"{how} {host}")
        raise NetworkRefusedError(f"tests run without a network: {how} '{host}' is refused")


def refuse_network() -> None:
    """Binds this process; a second call does nothing."""
    if getattr(socket.socket.connect, "refuses", False):
        return
    connect, connect_ex, sendto = socket.socket.connect, socket.socket.connect_ex, socket.socket.sendto
    getaddrinfo, gethostbyname = socket.getaddrinfo, socket.gethostbyname

    def of_network(own: socket.socket) -> bool:
        return own.family in (socket.AF_INET, socket.AF_INET6)

    def checked_connect(self: socket.socket, address: Any) -> None:
        if of_network(self):
            _checked(address[0], "connecting to")
        connect(self, address)

    def checked_connect_ex(self: socket.socket, address: Any) -> int:
        if of_network(self):
            _checked(address[0], "connecting to")
        return connect_ex(self, address)

    def checked_sendto(self: socket.socket, data: Any, *rest: Any) -> int:
        if of_network(self):
            _checked(rest[-1][0], "sending to")
        return sendto(self, data, *rest)

    def checked_getaddrinfo(host: Any, *rest: Any, **named: Any) -> Any:
        _checked(host, "looking up")
        return getaddrinfo(host, *rest, **named)

    def checked_gethostbyname(host: str) -> str:
        _checked(host, "looking up")
        return gethostbyname(host)

    checked_connect.refuses = True  # type: ignore[attr-defined]
    socket.socket.connect, socket.socket.connect_ex = checked_connect, checked_connect_ex  # type: ignore[method-assign]
    socket.socket.sendto = checked_sendto  # type: ignore[method-assign,assignment]
    socket.getaddrinfo, socket.gethostbyname = checked_getaddrinfo, checked_gethostbyname


os.environ["HF_HUB_OFFLINE"] = "1"
refuse_network()
