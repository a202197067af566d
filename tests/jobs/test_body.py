"""Bodies taken apart."""

import json
from pathlib import Path
from typing import Any

import pytest

from sutro_stream.errors import StoreError
from sutro_stream.jobs.body import MAX_FIELDS_BYTES, ArrayBody, Body, split_body
from sutro_stream.wire.api_error import ApiError


def split(tmp_path: Path, body: bytes) -> Body:
    """A body that came as these bytes."""
    path = tmp_path / "body"
    path.write_bytes(body)
    return split_body(path)


def refusal(tmp_path: Path, body: bytes) -> tuple[int, str, str]:
    """Status, code and detail that a body is refused with."""
    with pytest.raises(ApiError) as caught:
        split(tmp_path, body)
    return caught.value.status, caught.value.code, caught.value.detail


@pytest.mark.parametrize(
    "body",
    [
        b'{"inputs": ["a", "]"], "model": "m"}',
        b'{"model": "m", "inputs" : [ "a" ,\n "\\u005d"]}',
        b' {"x": {"inputs": [1]}, "model": "m", "inputs":["a"] } \n',
    ],
)
def test_rows_are_found_where_they_lie(tmp_path: Path, body: bytes) -> None:
    """Wherever they stand among the fields, and whatever they hold."""
    taken = split(tmp_path, body)
    assert isinstance(taken.inputs, ArrayBody)
    rows = body[taken.inputs.start : taken.inputs.end]
    assert len(rows) == taken.inputs.size_bytes
    assert json.loads(rows) == json.loads(body)["inputs"]
    assert json.loads(taken.fields) == json.loads(body) | {"inputs": None}


def test_text_says_where_the_rows_are(tmp_path: Path) -> None:
    """An address or an ID is given back as it is meant."""
    taken = split(tmp_path, rb'{"inputs": "https:\/\/host\/a.csv?q=\u00e9"}')
    assert taken.inputs == "https://host/a.csv?q=\u00e9"


def test_of_two_values_the_last_counts(tmp_path: Path) -> None:
    """As for most readers of JSON; the rows and the check agree."""
    body = b'{"inputs": ["first"], "inputs": ["last"]}'
    taken = split(tmp_path, body)
    assert isinstance(taken.inputs, ArrayBody)
    assert body[taken.inputs.start : taken.inputs.end] == b'["last"]'


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "it is empty"),
        (b"{", "its end is missing"),
        (b'{"inputs": ["a"}', "(byte 15)"),
        (b'{"inputs": ["a"]} x', "trailing characters"),
        (b'["a"]', "Expected `object`, got `array`"),
        (b'{"inputs": [NaN]}', "invalid character"),
        (b'{"inputs": ["a",]}', "trailing comma"),
        (b'{"inputs": ["a"], "name": "\xff"}', "not UTF-8"),
        (rb'{"inputs": ["\ud800"]}', "half of a surrogate pair"),
        (rb'{"inputs": ["a"], "name": "\udc00"}', "invalid"),
        (b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too deeply"),
        (b'{"inputs": ["a"], "x": ' + b"[" * 5_000 + b"]" * 5_000 + b"}", "too deep"),
        (b"\x1f\x8b\x08\x00", "invalid character"),
    ],
)
def test_what_is_no_json_object_is_refused(
    tmp_path: Path, body: bytes, reason: str
) -> None:
    """With status 400, and a reason without any content."""
    status, code, detail = refusal(tmp_path, body)
    assert (status, code) == (400, "invalid_json")
    assert reason in detail


@pytest.mark.parametrize(
    "value", ["[]", "[ \n\t]", '""', "null", "1", "true", "{}", '{"a": ["b"]}']
)
def test_inputs_of_another_kind_are_refused(tmp_path: Path, value: str) -> None:
    """With status 422, naming the field."""
    status, _, detail = refusal(tmp_path, b'{"inputs": %s}' % value.encode())
    assert status == 422
    assert detail.startswith("inputs: ")


def test_missing_inputs_are_refused(tmp_path: Path) -> None:
    """With status 422, naming the field."""
    assert refusal(tmp_path, b'{"model": "m"}')[0::2] == (422, "inputs: is required")


def test_a_reference_has_a_length(tmp_path: Path) -> None:
    """No address is that long."""
    body = json.dumps({"inputs": "https://host/" + "a" * 100_000}).encode()
    assert refusal(tmp_path, body)[0] == 422


def test_fields_beside_the_rows_have_a_size(tmp_path: Path) -> None:
    """They are read into memory, unlike the rows."""
    fields: dict[str, Any] = {"inputs": ["a"], "name": "x" * MAX_FIELDS_BYTES}
    status, code, _ = refusal(tmp_path, json.dumps(fields).encode())
    assert (status, code) == (413, "body_too_large")


def test_a_body_that_is_not_there_is_a_fault_of_ours(tmp_path: Path) -> None:
    """Nobody who asked can do anything about it."""
    with pytest.raises(StoreError, match="no such file"):
        split_body(tmp_path / "none")
