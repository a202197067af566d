"""Cells of every Arrow type, in the few types of JSON."""

from __future__ import annotations

import datetime as dt
import decimal
from typing import Any

import pyarrow as pa
import pytest

from sutro_stream.errors import ConfigurationError
from sutro_stream.formats.cells import check_types, json_column, json_values

MOMENT = dt.datetime(2024, 1, 2, 3, 4, 5, 6)  # noqa: DTZ001 - a naive one is wanted
TEXT = "2024-01-02T03:04:05.000006"
US = pa.timestamp("us")
MAP = pa.map_(pa.string(), US)

CASES: list[tuple[pa.Array, list[Any]]] = [
    (pa.array([MOMENT, None], US), [TEXT, None]),
    (pa.array([1, None], pa.timestamp("ns")), ["1970-01-01T00:00:00.000000001", None]),
    (pa.array([MOMENT, None], pa.timestamp("us", "Europe/Paris")), [TEXT + "Z", None]),
    (pa.array([dt.time(1, 2), None]), ["01:02:00.000000", None]),
    (pa.array([dt.date(2024, 1, 2), None], pa.date64()), ["2024-01-02", None]),
    (pa.array([dt.timedelta(seconds=1.5), None]), [1.5, None]),
    (pa.array([decimal.Decimal("1.20"), None]), ["1.20", None]),
    (pa.array([1.5, None], pa.float16()), [1.5, None]),
    (pa.array([b"\xff", b"", None]), ["/w==", "", None]),
    (pa.array([b"ab", None], pa.binary(2)), ["YWI=", None]),
    (pa.array([b"ab", None], pa.binary_view()), ["YWI=", None]),
    (pa.array([MOMENT, None], US).dictionary_encode(), [TEXT, None]),
    (
        pa.RunEndEncodedArray.from_arrays(
            pa.array([2, 3], pa.int32()), pa.array(["q", None])
        ),
        ["q", "q", None],
    ),
    (pa.array(['{"a": 1}', None], pa.json_()), ['{"a": 1}', None]),
    (
        pa.array([[MOMENT], None, [], [None]], pa.list_(US)),
        [[TEXT], None, [], [None]],
    ),
    (pa.array([[MOMENT], None, []], pa.large_list(US)), [[TEXT], None, []]),
    (pa.array([[MOMENT], None, []], pa.list_view(US)), [[TEXT], None, []]),
    (pa.array([[MOMENT], None, [None]], pa.list_(US, 1)), [[TEXT], None, [None]]),
    (
        pa.array([{"a": 1, "b": MOMENT}, None, {"a": None, "b": None}]),
        [{"a": 1, "b": TEXT}, None, {"a": None, "b": None}],
    ),
    (
        pa.array([[("k", MOMENT), ("l", None)], None, []], MAP),
        [{"k": TEXT, "l": None}, None, {}],
    ),
    (
        pa.array([[(1, 2), (1, 3)]], pa.map_(pa.int32(), pa.int32())),
        [{"1": 3}],
    ),
    (
        pa.array([[[("k", MOMENT)], None], None], pa.list_(MAP)),
        [[{"k": TEXT}, None], None],
    ),
    (
        pa.array(
            [{"m": [("k", MOMENT)], "n": {"o": 1}}, None],
            pa.struct([("m", MAP), ("n", pa.struct([("o", pa.int8())]))]),
        ),
        [{"m": {"k": TEXT}, "n": {"o": 1}}, None],
    ),
]

IMPOSSIBLE = [
    pa.month_day_nano_interval(),
    pa.list_(pa.month_day_nano_interval()),
    pa.map_(pa.list_(pa.int8()), pa.int8()),
    pa.struct([("same", pa.int8()), ("same", pa.int8())]),
    pa.dense_union([pa.field("a", pa.int8())]),
]


@pytest.mark.parametrize(
    ("column", "expected"), CASES, ids=[str(column.type) for column, _ in CASES]
)
def test_cells_become_json_values(column: pa.Array, expected: list[Any]) -> None:
    """One documented form for each type, nulls kept at every depth."""
    assert json_values(column) == expected


@pytest.mark.parametrize(
    ("column", "expected"), CASES, ids=[str(column.type) for column, _ in CASES]
)
def test_slices_become_the_values_of_the_slice(
    column: pa.Array, expected: list[Any]
) -> None:
    """What lies before a slice in memory does not matter."""
    assert json_values(column.slice(1)) == expected[1:]


@pytest.mark.parametrize("kind", IMPOSSIBLE, ids=str)
def test_types_without_a_form_are_named(kind: pa.DataType) -> None:
    """The message names the column, the format and the type."""
    schema = pa.schema([("fine", pa.int8()), ("odd", kind)])
    with pytest.raises(ConfigurationError, match=r"column 'odd': JSON cannot hold"):
        check_types(schema, json_column, "JSON")
