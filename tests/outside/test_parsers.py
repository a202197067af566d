"""What reads what comes from outside: every text has an answer, and a quick one."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutro_stream.errors import ConfigurationError
from sutro_stream.jobs.body import ArrayBody, split_body
from sutro_stream.jobs.elements import pieces
from sutro_stream.jobs.row_columns import Field, columns_of
from sutro_stream.values.template import Template
from sutro_stream.wire.api_error import ApiError
from sutro_stream.wire.cursor import Cursor, decode_cursor, encode_cursor
from sutro_stream.wire.idempotency import parse_idempotency_key
from sutro_stream.wire.presign import sign, verify
from sutro_stream.wire.query import (
    parse_list_query,
    parse_results_query,
    parse_results_url_query,
)
from sutro_stream.wire.ranges import Part, Unsatisfiable, Whole, wanted_range
from sutro_stream.wire.requests import (
    parse_dataset_file_request,
    parse_dataset_request,
    parse_function_run,
    parse_results_request,
)
from sutro_stream.wire.submission import SubmissionFields, parse_submission

TEXTS = st.text(st.characters(exclude_categories=()), max_size=40)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=12,
)
FRAGMENTS = st.sampled_from(
    [
        *(b"{", b"}", b"[", b"]", b'"', b":", b",", b" ", b"\\", b"\n", b"\0"),
        *(b'"inputs"', b"null", b"true", b"NaN", b"1", b"-", b"1e999", b"9" * 400),
        *(
            b"\\ud800",
            b"\\udc00",
            b"\\u0000",
            b"\xff",
            b"\xed\xa0\x80",
            b"\xef\xbb\xbf",
        ),
        *(b'{"inputs":["a"]}', b'{"inputs":', b'["a",', b'{"query":"x"}', b"//", b"/*"),
    ]
)
BYTES = st.binary(max_size=60) | st.lists(FRAGMENTS, max_size=12).map(b"".join)
FIELDS = st.sampled_from(sorted(SubmissionFields.__dataclass_fields__))


def refused_or_not(read: Callable[[], Any]) -> Any:
    """What is read, or `None` where it is refused in good order."""
    try:
        return read()
    except ApiError as error:
        # Its text can be sent.
        orjson.dumps([error.status, error.code, error.detail])
        return None


def written(value: Any) -> bytes:
    """As JSON, with numbers of any size."""
    return json.dumps(value, ensure_ascii=False).encode()


@given(BYTES | VALUES.map(written))
def test_bodies_of_requests(body: bytes) -> None:
    """Each parser either reads a body or refuses it."""
    for parse in (
        parse_submission,
        parse_results_request,
        parse_function_run,
        parse_dataset_request,
        parse_dataset_file_request,
    ):
        refused_or_not(lambda parse=parse: parse(body))  # type: ignore[misc]


@given(st.dictionaries(FIELDS, VALUES, max_size=4))
def test_fields_of_a_submission(fields: dict[str, Any]) -> None:
    """Whatever their values are; what is read can be written again."""
    found = refused_or_not(lambda: parse_submission(written(fields)))
    if found is not None:
        orjson.dumps([found.json_schema, dict(found.sampling_params)])


@given(
    st.dictionaries(
        st.sampled_from(["type", "properties", "items", "$ref", "$defs", "anyOf", "a"]),
        VALUES | st.sampled_from(["#", "#/$defs/a", "#/properties/a", "object"]),
        max_size=4,
    )
)
def test_schemas(schema: dict[str, Any]) -> None:
    """Most of them are none."""
    body = written({"json_schema": schema})
    refused_or_not(lambda: parse_submission(body))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file for bodies."""
    return tmp_path_factory.mktemp("bodies") / "body"


@given(BYTES | VALUES.map(written))
def test_bodies_are_taken_apart_or_refused(place: Path, body: bytes) -> None:
    """And what is found in one is what another reader finds there."""
    place.write_bytes(body)
    found = refused_or_not(lambda: split_body(place))
    if found is None:
        return
    whole = json.loads(body)
    if isinstance(found.inputs, ArrayBody):
        rows = body[found.inputs.start : found.inputs.end]
        assert json.loads(rows) == whole["inputs"]
    else:
        assert found.inputs == whole["inputs"]
    assert json.loads(found.fields) == {**whole, "inputs": None}


@given(st.lists(VALUES, min_size=1, max_size=20), st.integers(1, 200))
def test_rows_are_cut_where_they_end(rows: list[Any], window: int) -> None:
    """However small the window is."""
    text = written(rows)
    found = pieces(io.BytesIO(text), start=0, end=len(text), window_bytes=window)
    assert [row for piece in found for row in json.loads(piece)] == rows


@given(BYTES)
def test_rows_that_are_none_come_to_an_end(text: bytes) -> None:
    """Nothing is lost on the way, and nobody waits for ever."""
    body = b"[" + text + b"]"
    found = list(pieces(io.BytesIO(body), start=0, end=len(body), window_bytes=8))
    assert b",".join(piece[1:-1] for piece in found) == text


@given(
    VALUES.map(written) | BYTES,
    st.sampled_from([None, [Field(name="query", is_required=True)]]),
)
def test_rows_become_columns_or_are_refused(
    row: bytes, fields: list[Field] | None
) -> None:
    """One for each."""

    def read() -> Any:
        columns = columns_of(fields)
        batch = columns.take(b'["a",' + row + b"]", first_row=0)
        columns.finish()
        return batch

    batch = refused_or_not(read)
    if batch is not None:
        assert batch.num_rows >= 2
        batch.validate(full=True)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                *("limit", "cursor", "format", "result_format", "include_inputs"),
                *("include_cumulative_logprobs", "expires_in_seconds"),
            ]
        ),
        TEXTS | st.sampled_from(["1", "100", "true", "False", "json", "parquet", "٣"]),
    )
)
def test_queries(query: dict[str, str]) -> None:
    """With halves of pairs and digits of all alphabets."""
    for parse in (parse_list_query, parse_results_query, parse_results_url_query):
        refused_or_not(lambda parse=parse: parse(query))  # type: ignore[misc]


@given(TEXTS)
def test_cursors(text: str) -> None:
    """A text that is none is refused."""
    refused_or_not(lambda: decode_cursor(text))


@given(
    st.datetimes(timezones=st.just(UTC), min_value=datetime(1970, 1, 1)),  # noqa: DTZ001
    st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1),
)
def test_cursors_come_back(created_at: datetime, job_id: str) -> None:
    """As they were."""
    cursor = Cursor(created_at=created_at, job_id=job_id)
    assert decode_cursor(encode_cursor(cursor)) == cursor


@given(TEXTS)
def test_idempotency_keys(text: str) -> None:
    """What is taken is a UUID."""
    found = refused_or_not(lambda: parse_idempotency_key(text))
    assert found is None or len(found) == 36


@given(
    TEXTS | st.from_regex(r"bytes ?= ?\d*-\d*(, ?\d*-\d*)?"),
    st.none() | TEXTS | st.just('"e"'),
    st.integers(0, 1000),
)
def test_ranges(requested: str, if_range: str | None, size_bytes: int) -> None:
    """A part lies within the file and is not empty."""
    found = wanted_range(requested, if_range, size_bytes=size_bytes, etag='"e"')
    assert isinstance(found, Whole | Part | Unsatisfiable)
    if isinstance(found, Part):
        assert 0 <= found.start < found.stop <= size_bytes


@given(TEXTS, TEXTS, st.integers(0, 10**15))
def test_signatures(signature: str, key: str, expires_at: int) -> None:
    """Only the right one is right, for that one use; none of them is an error."""
    secret = b"s" * 32
    encodable = key.encode("utf-8", "replace").decode()
    right = sign(secret, method="GET", key=encodable, expires_at=expires_at)

    def holds(given: str, **changed: Any) -> bool:
        use = {"method": "GET", "key": encodable, "expires_at": expires_at, **changed}
        return verify(secret, given, now=expires_at - 1, **use)

    assert holds(right)
    assert not holds(signature)
    assert not holds(right, key=encodable + "x")
    assert not holds(right, method="HEAD")
    assert not holds(right, expires_at=expires_at + 1)
    verify(secret, signature, method="GET", key=key, expires_at=0, now=0)


@given(st.lists(st.sampled_from(["{{", "}}", "{", "}", " ", "a", "%", "\0"])))
def test_templates(parts: list[str]) -> None:
    """A template is data: read once, and nothing in it is run."""
    with contextlib.suppress(ConfigurationError):
        template = Template.parse("".join(parts))
        values = dict.fromkeys(template.fields, "{{ a }}")
        assert template.fill(values).count("{{ a }}") == len(template.fields)


@pytest.mark.parametrize("part", ["{{", "}}", "{{ a ", "{ {", "{{}"])
def test_a_long_template_takes_no_longer_for_each_character(part: str) -> None:
    """What does not end is not looked for again and again."""
    with contextlib.suppress(ConfigurationError):
        Template.parse(part * 200_000)
