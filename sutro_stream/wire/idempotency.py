"""Keys under which a submission can be sent again without being made twice."""

from __future__ import annotations

import re

from sutro_stream.wire.api_error import ApiError, invalid

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def parse_idempotency_key(text: str | None) -> str | None:
    """The key of a header in its canonical form, `None` for no header.

    Raises:
        ApiError: 422, it is not a UUID.
    """
    if text is None:
        return None
    key = text.strip().lower()
    if not _UUID.fullmatch(key):
        message = "Idempotency-Key: give a UUID, 8-4-4-4-12 hexadecimal digits"
        raise invalid(message, code="invalid_idempotency_key")
    return key


def conflict() -> ApiError:
    """The key came before with another body."""
    message = "Idempotency-Key: it was used for another body; use a new key"
    return ApiError(409, "idempotency_conflict", message)


def in_progress(*, retry_after_s: int = 1) -> ApiError:
    """The same submission is being taken in at this moment."""
    message = "Idempotency-Key: this submission is being received; ask again later"
    return ApiError(
        409,
        "idempotency_in_progress",
        message,
        headers={"Retry-After": str(retry_after_s)},
    )
