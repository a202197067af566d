"""Where a page of a list ends, as opaque text."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sutro_stream.wire.api_error import invalid

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """The last job of a page.

    Attributes:
        created_at: When it was accepted, UTC.
        job_id: Its ID.
    """

    created_at: datetime
    job_id: str


def encode_cursor(cursor: Cursor) -> str:
    """Text that is safe in a query."""
    microseconds = (cursor.created_at - _EPOCH) // _MICROSECOND
    raw = f"{microseconds}/{cursor.job_id}".encode()
    return urlsafe_b64encode(raw).decode().rstrip("=")


def decode_cursor(text: str) -> Cursor:
    """The cursor that `encode_cursor` wrote.

    Raises:
        ApiError: 422, it is none.
    """
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        raw = urlsafe_b64decode(padded).decode("ascii")
        microseconds, _, job_id = raw.partition("/")
        created_at = _EPOCH + timedelta(microseconds=int(microseconds))
    except (ValueError, OverflowError, binascii.Error):
        raise _unknown() from None
    if not job_id:
        raise _unknown()
    return Cursor(created_at=created_at, job_id=job_id)


def _unknown() -> Exception:
    return invalid("cursor: give the next_cursor of the page before", code="bad_cursor")
