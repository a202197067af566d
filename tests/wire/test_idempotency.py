"""Keys of submissions."""

from __future__ import annotations

import pytest

from sutro_stream.wire.api_error import ApiError
from sutro_stream.wire.idempotency import (
    conflict,
    in_progress,
    parse_idempotency_key,
)

KEY = "0f8fad5b-d9cb-469f-a165-70867728950e"


def test_a_key_has_one_form() -> None:
    """However it is written."""
    assert parse_idempotency_key(KEY) == KEY
    assert parse_idempotency_key(f" {KEY.upper()} ") == KEY


def test_no_header_is_no_key() -> None:
    """Most submissions have none."""
    assert parse_idempotency_key(None) is None


@pytest.mark.parametrize(
    "text", ["", "1", KEY.replace("-", ""), f"{{{KEY}}}", KEY + "0", "g" + KEY[1:]]
)
def test_what_is_no_uuid_is_refused(text: str) -> None:
    """A key that somebody else might choose too is worse than none."""
    with pytest.raises(ApiError, match="Idempotency-Key") as caught:
        parse_idempotency_key(text)
    assert caught.value.status == 422


def test_each_refusal_has_its_status() -> None:
    """And one that goes away says when to ask again."""
    assert (conflict().status, conflict().code) == (409, "idempotency_conflict")
    assert in_progress().headers == {"Retry-After": "1"}
