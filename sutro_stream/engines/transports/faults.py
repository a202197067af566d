"""What goes wrong between two machines, in the words of every transport."""

from __future__ import annotations

import errno
import os
import ssl

from yarl import URL

from sutro_stream.errors import (
    EngineError,
    EngineUnavailableError,
    ProtocolError,
    TransportError,
)

_NEEDS_USER = 407
# What the proxy has decided, and will again.
_FOR_GOOD = frozenset({400, 401, 403, 404, 405, 501})


def place(url: URL) -> str:
    """Scheme, host and port as they were written; safe to show."""
    return f"{url.scheme}://{url.host_port_subcomponent}"


def closed() -> EngineError:
    """Somebody asks after the end."""
    return EngineUnavailableError("the engine was closed while it was in use")


def untrusted(where: str) -> EngineError:
    """The endpoint's certificate is not one to trust."""
    return EngineUnavailableError(
        f"{where}: the TLS certificate is not trusted; check the address, or name "
        "the authority that signed it with --ca-file (ca_file)"
    )


def unknown_host(where: str) -> EngineError:
    """There is no such host."""
    return TransportError(f"{where}: the host name is not known", connected=False)


def not_in_time(where: str) -> EngineError:
    """No connection within the limit."""
    return TransportError(f"{where}: no connection in time", connected=False)


def unreachable(where: str, error: OSError) -> EngineError:
    """No connection."""
    return TransportError(f"{where}: {_os_reason(error)}", connected=False)


def refused_by_proxy(proxy: str, status: int) -> EngineError:
    """The proxy does not let a request through, or cannot."""
    if status == _NEEDS_USER:
        return EngineUnavailableError(
            f"{proxy}: asks for a user and a password, or refuses those given (HTTP "
            "407); write them in its address, as in http://USER:PASSWORD@HOST:PORT"
        )
    if status in _FOR_GOOD:
        return EngineUnavailableError(
            f"{proxy}: refuses to connect to the endpoint (HTTP {status}); check the "
            "endpoint's address, and what the proxy allows"
        )
    return TransportError(
        f"{proxy}: cannot connect to the endpoint (HTTP {status})", connected=False
    )


def silent(where: str) -> EngineError:
    """The connection ended and there is no reply."""
    return TransportError(f"{where}: the connection was closed before a reply")


def unasked(where: str) -> EngineError:
    """Something came while nothing was asked."""
    return TransportError(f"{where}: a reply came before the request")


def cut(where: str) -> EngineError:
    """A part of the reply is missing, or cannot be read."""
    return TransportError(f"{where}: the connection was cut within the reply")


def not_http(where: str) -> EngineError:
    """What came back is nothing that HTTP knows."""
    return TransportError(f"{where}: the reply is not HTTP")


def broken(where: str, error: BaseException) -> EngineError:
    """The connection broke while it was in use."""
    reason = _os_reason(error) if isinstance(error, OSError) else type(error).__name__
    return TransportError(f"{where}: the connection broke ({reason})")


def too_large(limit_bytes: int) -> EngineError:
    """The reply goes beyond what is accepted."""
    return ProtocolError(f"the reply is larger than the limit of {limit_bytes:,} bytes")


def _os_reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        # Its numbers are OpenSSL's, though they look like the system's.
        reason = (error.reason or type(error).__name__).replace("_", " ").lower()
        return f"no TLS connection ({reason})"
    # The event loop writes host and port into `strerror`.
    known = error.errno in errno.errorcode
    text = os.strerror(error.errno) if known and error.errno else error.strerror
    return (text or type(error).__name__).lower()
