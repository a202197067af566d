"""The transports by name."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from sutro_stream.engines.transports.aiohttp import AiohttpTransport
from sutro_stream.engines.transports.fast import FastTransport
from sutro_stream.engines.transports.transport import Destination, Transport
from sutro_stream.errors import ConfigurationError

TransportName: TypeAlias = Literal["fast", "aiohttp"]

TRANSPORTS: tuple[TransportName, ...] = get_args(TransportName)

DEFAULT_TRANSPORT: TransportName = "fast"


def check_transport(name: str) -> None:
    """Refuse a name that stands for nothing.

    Raises:
        ConfigurationError: Says which there are.
    """
    if name not in TRANSPORTS:
        raise ConfigurationError(
            f"transport {name!r}: choose one of {', '.join(TRANSPORTS)}"
        )


def make_transport(name: TransportName, destination: Destination) -> Transport:
    """The transport of this name, not open yet."""
    if name == "fast":
        return FastTransport(destination)
    return AiohttpTransport(destination)
