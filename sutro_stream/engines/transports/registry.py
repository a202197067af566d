"""The transports by name."""

from __future__ import annotations

from sutro_stream.engines.transports.aiohttp import AiohttpTransport
from sutro_stream.engines.transports.fast import FastTransport
from sutro_stream.engines.transports.transport import Destination, Transport
from sutro_stream.errors import ConfigurationError
from sutro_stream.values.endpoint import TRANSPORTS, USUAL_TRANSPORT, TransportName


def choose_transport(name: TransportName | None, *, has_proxy: bool) -> TransportName:
    """The transport of this name, `None` for the usual one that can do it.

    Raises:
        ConfigurationError: There is none of this name, or it knows no proxies.
    """
    if name is None:
        return "aiohttp" if has_proxy else USUAL_TRANSPORT
    if name not in TRANSPORTS:
        raise ConfigurationError(
            f"transport {name!r}: choose one of {', '.join(TRANSPORTS)}"
        )
    if has_proxy and name == "fast":
        raise ConfigurationError(
            "transport 'fast' goes through no proxy; leave it out, or choose aiohttp"
        )
    return name


def make_transport(name: TransportName, destination: Destination) -> Transport:
    """The transport of this name, not open yet."""
    if name == "fast":
        return FastTransport(destination)
    return AiohttpTransport(destination)
