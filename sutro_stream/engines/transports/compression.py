"""Bodies that come compressed although nobody asked for it."""

from __future__ import annotations

import zlib

_GZIP_WBITS = 16 + zlib.MAX_WBITS
_DEFLATED = 8  # the method, in the first byte of a zlib stream


def decompressed(body: bytes, encoding: str, *, limit_bytes: int) -> bytes:
    """The body as it was before it was encoded, if in gzip or deflate.

    Args:
        body: As it came.
        encoding: What `Content-Encoding` says.
        limit_bytes: More than one byte beyond it is not made.

    Raises:
        ValueError: The body is not in its encoding, or not all of it.
    """
    encoding = encoding.strip().lower()
    if encoding not in {"gzip", "deflate"} or not body:
        return body
    wbits = _GZIP_WBITS
    if encoding == "deflate":
        # Some servers leave zlib's envelope away.
        wbits = zlib.MAX_WBITS if body[0] & 0xF == _DEFLATED else -zlib.MAX_WBITS
    inflating = zlib.decompressobj(wbits)
    try:
        plain = inflating.decompress(body, limit_bytes + 1)
    except zlib.error:
        raise ValueError("the body is not in its encoding") from None
    if not inflating.eof and len(plain) <= limit_bytes:
        raise ValueError("the end of the body is missing")
    return plain
