"""What goes wrong between here and a deployment, as errors of this package."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping

import aiohttp

from sutro_stream.errors import (
    AuthenticationError,
    EngineError,
    EngineUnavailableError,
    NotFoundError,
    ProtocolError,
    QuotaError,
    RateLimitedError,
    RequestTimeoutError,
    ServiceError,
    TransportError,
)
from sutro_stream.wire.refusal import parse_refusal
from sutro_stream.wire.retry_after import retry_after_s

_QUOTA_CODES = frozenset({"quota_exceeded", "insufficient_quota"})


def refusal_error(
    status: int, headers: Mapping[str, str], body: bytes, *, where: str
) -> EngineError:
    """The error that a response other than success stands for.

    Args:
        status: HTTP status.
        headers: Lookup ignores case.
        body: JSON, or whatever something on the way has written.
        where: How messages call the deployment.
    """
    refusal = parse_refusal(body)
    code = refusal.code
    said = "" if refusal.detail is None else f": {refusal.detail}"
    asked = "" if refusal.request_id is None else f" ({refusal.request_id})"
    wait_s = retry_after_s(headers.get("Retry-After"))
    message = f"{where} answered HTTP {status}{said}{asked}"
    if status in range(300, 400):
        return ProtocolError(
            f"{where} answered with a redirect (HTTP {status}); give the address that "
            "it leads to"
        )
    if status == 402 or code in _QUOTA_CODES:
        return QuotaError(message, status=status, code=code)
    if status in {401, 403}:
        return AuthenticationError(
            f"{where} refused the API key (HTTP {status}{said}); check that it is "
            "set, valid and of this deployment",
            status=status,
            code=code,
        )
    if status == 404:
        return NotFoundError(message, status=status, code=code)
    kind = RateLimitedError if status == 429 else ServiceError
    return kind(message, status=status, code=code, retry_after_s=wait_s)


def transport_error(error: Exception, *, where: str) -> EngineError:
    """What the HTTP client or the system raised; its own message holds addresses."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return EngineUnavailableError(
            f"{where}: the TLS certificate is not trusted; check the address, or the "
            "certificates installed on this machine"
        )
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return TransportError(f"{where}: the host name is not known", connected=False)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return TransportError(f"{where}: no connection in time", connected=False)
    if isinstance(error, aiohttp.ClientConnectorError):
        reason = _os_reason(error.os_error)
        return TransportError(f"{where}: {reason}", connected=False)
    if isinstance(error, TimeoutError):
        return RequestTimeoutError(f"{where}: no answer in time")
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return TransportError(f"{where}: the connection was closed before a reply")
    if isinstance(error, aiohttp.ClientPayloadError):
        return TransportError(f"{where}: the connection was cut within the reply")
    if isinstance(error, aiohttp.ClientResponseError):
        return TransportError(f"{where}: the reply is not HTTP")
    reason = _os_reason(error) if isinstance(error, OSError) else type(error).__name__
    return TransportError(f"{where}: the connection broke ({reason})")


def was_not_taken(error: EngineError) -> bool:
    """Whether a failed request certainly had no effect at the deployment."""
    if isinstance(error, TransportError):
        return not error.connected
    return isinstance(error, RateLimitedError)


def _os_reason(error: OSError) -> str:
    # The event loop writes host and port into `strerror`.
    known = error.errno in errno.errorcode
    text = os.strerror(error.errno) if known and error.errno else error.strerror
    return (text or type(error).__name__).lower()
