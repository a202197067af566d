"""Signatures of links that work without a key."""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode

# Keeps these signatures apart from any other use of the same secret.
_PURPOSE = "sutro-stream artifact link 1"


def sign(secret: bytes, *, method: str, key: str, expires_at: int) -> str:
    """Sign one use of one artifact.

    Pure: the same arguments give the same signature.

    Args:
        secret: Random bytes that only the deployment knows; at least 32.
        method: The HTTP method that is allowed.
        key: The artifact's key.
        expires_at: Second since 1970 from which on the link is refused.

    Returns:
        43 characters that are safe in a query.
    """
    # The key comes last and the others hold no line break, so no two sets of
    # arguments give the same text.
    text = f"{_PURPOSE}\n{method.upper()}\n{expires_at}\n{key}"
    digest = hmac.new(secret, _bytes(text), hashlib.sha256).digest()
    return urlsafe_b64encode(digest).decode().rstrip("=")


def verify(
    secret: bytes,
    signature: str,
    *,
    method: str,
    key: str,
    expires_at: int,
    now: float,
) -> bool:
    """Whether the signature is right and the time has not come.

    Takes the same time for any wrong signature of the right length.

    Args:
        secret: As for `sign`.
        signature: As it came.
        method: Of the request.
        key: As it came.
        expires_at: As it came.
        now: Seconds since 1970.
    """
    expected = sign(secret, method=method, key=key, expires_at=expires_at)
    right = hmac.compare_digest(expected.encode(), _bytes(signature))
    return right and now < expires_at


def _bytes(text: str) -> bytes:
    # Lone surrogates, which a decoded query can hold, are text like any other here.
    return text.encode("utf-8", "surrogatepass")
