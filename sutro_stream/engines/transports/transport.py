"""The contract of an HTTP client towards one address."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from yarl import URL


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where requests go, and within which bounds.

    Attributes:
        url: The address; a user and a password in it are sent.
        headers: Sent with each request; those of the body are added.
        connect_timeout_s: Longest wait for a connection, in seconds.
        reply_limit_bytes: Largest body accepted.
        certificates: Which certificates are trusted, `None` for those that this
            machine trusts.
        proxy: What requests go through, `None` for nothing; a user and a password in
            it are sent to it.
    """

    url: URL
    headers: Mapping[str, str] = field(repr=False)
    connect_timeout_s: float
    reply_limit_bytes: int
    certificates: ssl.SSLContext | None = None
    proxy: URL | None = field(default=None, repr=False)

    @property
    def keeps_connections(self) -> bool:
        """Whether the headers leave a connection open after a reply."""
        return not any(
            name.lower() == "connection" and value.lower() == "close"
            for name, value in self.headers.items()
        )


class Reply(NamedTuple):
    """A complete HTTP response.

    Attributes:
        status: HTTP status.
        fields: Header fields as they came, the first of each name.
        names: Their names in lower case.
        body: The whole body, without the compression it may have come in.
    """

    # A tuple, since there is one for each row: it is made in a third of the time.
    status: int
    fields: dict[bytes, bytes]
    names: frozenset[bytes]
    body: bytes

    @property
    def told(self) -> tuple[int, dict[str, str], bytes]:
        """Status, header fields and body."""
        return self.status, self.headers, self.body

    @property
    def headers(self) -> dict[str, str]:
        """Header fields by their names in lower case; made anew each time."""
        return {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in reversed(self.fields.items())
        }


def lower_names(fields: Iterable[bytes]) -> frozenset[bytes]:
    """What `Reply.names` is for header fields of these names."""
    return frozenset([name.lower() for name in fields])


class Transport(Protocol):
    """Sends request bodies to one address.

    Proxies that the environment names are not used. Redirects are not followed.

    Concurrency: any number of tasks at once.
    """

    async def __aenter__(self) -> Self:
        """Open the connection pool; nothing is sent."""

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close all connections; requests that are out fail."""

    def use_headers(self, headers: Mapping[str, str]) -> None:
        """Send these with every request from now on, instead of those before."""

    async def post(self, body: bytes) -> Reply:
        """Send one POST and read the whole response.

        It is sent once: where a kept connection turns out to be closed, nobody can
        tell whether the endpoint has begun to work, and asking again is for those
        who count requests.

        Cancellation: the connection is closed, which tells the server.

        Raises:
            TransportError: The response did not arrive complete.
            EngineUnavailableError: No attempt can succeed (bad certificate), or the
                transport is closed.
            ProtocolError: The response is larger than the limit.
        """
