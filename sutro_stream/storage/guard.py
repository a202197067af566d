"""Which addresses may be connected to when somebody else chose them.

Looked at is the address that a socket is about to be connected to: after the name was
resolved, for every redirect, and whichever way the address is spelled. A name that is
resolved again to something else gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import aiohttp
from aiohttp.abc import AbstractResolver

AddressInfo: TypeAlias = tuple[Any, Any, int, str, tuple[Any, ...]]
"""Family, type, protocol, canonical name and address, as `getaddrinfo` has them."""

_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

# What the registries call global, and still leads into networks of others or to the
# machine's own host.
_NOT_PUBLIC = (
    "192.0.0.0/24",  # protocol assignments
    "192.88.99.0/24",  # relays of 6to4
    "168.63.129.16/32",  # a cloud's host, from each of its machines
    "2001::/23",  # protocol assignments, Teredo among them
    "2001:db8::/32",  # documentation
    "2002::/16",  # 6to4: an IPv4 address inside
    "3fff::/20",  # documentation
)
# Everything else of IPv6 is local, or holds an IPv4 address: mapped, NAT64.
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")


class NotAllowedError(OSError):
    """We refused to connect to an address."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet.

    Loopback, private, link-local, shared, multicast, reserved and unspecified
    addresses are not, and neither are IPv6 addresses that stand for an IPv4 address.

    Args:
        address: As the system writes it, of either version; anything else is not
            public.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and (
        found.scope_id is not None or found not in _GLOBAL_UNICAST
    ):
        return False
    if not found.is_global or found.is_multicast or found.is_reserved:
        return False
    return not any(
        found in network for network in _networks() if network.version == found.version
    )


def guarded_connector(
    allows: Callable[[str], bool] = is_public,
    *,
    resolver: AbstractResolver | None = None,
) -> aiohttp.TCPConnector:
    """A connector that reaches some addresses only.

    An attempt at another one fails with `ClientConnectorError` whose `os_error` is
    `NotAllowedError`; where a name has several, those that are allowed are tried.

    Args:
        allows: Whether an IP address may be connected to.
        resolver: Finds the addresses of names, `None` for the system's.
    """

    def make(info: AddressInfo) -> socket.socket:
        family, kind, protocol, _, address = info
        if not allows(address[0]):
            # The same text each time, so that several of them are told as one.
            raise NotAllowedError("not an address that may be connected to")
        return socket.socket(family, kind, protocol)

    return aiohttp.TCPConnector(socket_factory=make, resolver=resolver)


@cache
def _networks() -> tuple[_Network, ...]:
    return tuple(ipaddress.ip_network(network) for network in _NOT_PUBLIC)
