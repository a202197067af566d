"""Any column as text."""

import struct
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from sutro_stream.rendering.text import TEXT, Texts, as_text, text_of

NEW_YEAR = datetime(2020, 1, 1)  # noqa: DTZ001 - a column without a time zone


def broken_strings(*cells: bytes) -> pa.Array:
    """A string column as a careless writer leaves it: bytes that are not UTF-8."""
    ends = [sum(map(len, cells[:count])) for count in range(len(cells) + 1)]
    offsets = struct.pack(f"{len(ends)}i", *ends)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(cells))]
    return pa.Array.from_buffers(pa.string(), len(cells), buffers)


def written(array: pa.Array) -> list[str | None]:
    """The texts of a column in which everything is readable."""
    texts = as_text(array)
    assert texts.unreadable is None
    assert texts.values.type == TEXT
    cells: list[str | None] = texts.values.to_pylist()
    return cells


CASES: list[tuple[str, pa.Array, list[str | None]]] = [
    ("text", pa.array(["007", "", " é\n", None]), ["007", "", " é\n", None]),
    ("views", pa.array(["a", None], pa.string_view()), ["a", None]),
    ("coded", pa.array(["a", "b", "a", None]).dictionary_encode(), [*"aba", None]),
    ("coded numbers", pa.array([1.5, 1.5]).dictionary_encode(), ["1.5", "1.5"]),
    ("coded bytes", pa.array([b"a", None]).dictionary_encode(), ["a", None]),
    ("runs", pc.run_end_encode(pa.array(["a", "a", None])), ["a", "a", None]),
    ("nothing", pa.nulls(2), [None, None]),
    ("booleans", pa.array([True, False, None]), ["true", "false", None]),
    (
        "integers",
        pa.array([2**64 - 1, 0, None], pa.uint64()),
        [f"{2**64 - 1}", "0", None],
    ),
    ("wholes", pa.array([1.0, -0.0, 1e15]), ["1.0", "-0.0", "1000000000000000.0"]),
    ("big", pa.array([1e16, 1.5e300]), ["1e+16", "1.5e+300"]),
    (
        "small",
        pa.array([1e-4, 1e-5, 1.5e-5, 5e-324]),
        ["0.0001", "1e-05", "1.5e-05", "5e-324"],
    ),
    (
        "not numbers",
        pa.array([float("nan"), float("inf"), None, 1.0]),
        [None, "inf", None, "1.0"],
    ),
    (
        "float32",
        pa.array([0.1, 1e10, 2.5e-5], pa.float32()),
        ["0.1", "10000000000.0", "2.5e-05"],
    ),
    ("float16", pa.array([0.5, 2.0], pa.float32()).cast(pa.float16()), ["0.5", "2.0"]),
    ("decimals", pa.array([Decimal("1.50"), Decimal("0E-2")]), ["1.50", "0.00"]),
    ("dates", pa.array([date(1, 2, 3), None]), ["0001-02-03", None]),
    ("moments", pa.array([NEW_YEAR]), ["2020-01-01 00:00:00"]),
    (
        "ms",
        pa.array([1_500, -1], pa.timestamp("ms")),
        ["1970-01-01 00:00:01.500000", "1969-12-31 23:59:59.999000"],
    ),
    (
        "ns",
        pa.array([1, 1_000, 10**9], pa.timestamp("ns")),
        [
            "1970-01-01 00:00:00.000000001",
            "1970-01-01 00:00:00.000001",
            "1970-01-01 00:00:01",
        ],
    ),
    (
        "utc",
        pa.array([datetime(2020, 1, 2, tzinfo=UTC)]),
        ["2020-01-02 00:00:00+00:00"],
    ),
    (
        "zone",
        pa.array([0, 15552000], pa.timestamp("s", "Europe/Berlin")),
        ["1970-01-01 01:00:00+01:00", "1970-06-30 01:00:00+01:00"],
    ),
    (
        "west",
        pa.array([0], pa.timestamp("us", "-09:30")),
        ["1969-12-31 14:30:00-09:30"],
    ),
    (
        "no such zone",
        pa.array([0], pa.timestamp("s", "Nowhere/At_All")),
        ["1970-01-01 00:00:00+00:00"],
    ),
    (
        "times",
        pa.array([time(1, 2, 3), time(1, 2, 3, 4)]),
        ["01:02:03", "01:02:03.000004"],
    ),
    (
        "durations",
        pa.array([timedelta(days=-1, seconds=1), timedelta(2), None]),
        ["-1 day, 0:00:01", "2 days, 0:00:00", None],
    ),
    (
        "long durations",
        pa.array([1 << 40], pa.duration("s")),
        [str(timedelta(days=(1 << 40) // 86400, seconds=(1 << 40) % 86400))],
    ),
    (
        "ns durations",
        pa.array([1, 1_000_000], pa.duration("ns")),
        ["0:00:00.000000001", "0:00:00.001000"],
    ),
    ("bytes", pa.array([b"\xc3\xa9", None], pa.binary()), ["é", None]),
    ("fixed bytes", pa.array([b"ab"], pa.binary(2)), ["ab"]),
    ("byte views", pa.array([b"ab"], pa.binary_view()), ["ab"]),
    ("lists", pa.array([[1, None], [], None]), ["[1,null]", "[]", None]),
    (
        "objects",
        pa.array([{"é": "{{ x }}", "b": float("nan")}]),
        ['{"é":"{{ x }}","b":null}'],
    ),
    ("exact numbers", pa.array([[Decimal("1.50")]]), ["[1.50]"]),
    ("moments inside", pa.array([[NEW_YEAR]]), ['["2020-01-01T00:00:00"]']),
    ("bytes inside", pa.array([[b"ab"]]), ['["ab"]']),
    ("durations inside", pa.array([[timedelta(1)]]), ['["1 day, 0:00:00"]']),
    (
        "maps",
        pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int8())),
        ['{"a":1}', "{}"],
    ),
    (
        "maps by number",
        pa.array([[(1, "a")]], pa.map_(pa.int8(), pa.string())),
        ['{"1":"a"}'],
    ),
    (
        "keys twice",
        pa.array([[("a", 1), ("a", 2)], [("a", 1)]], pa.map_(pa.string(), pa.int8())),
        ['[["a",1],["a",2]]', '{"a":1}'],
    ),
    (
        "intervals",
        pa.array([(1, 2, 3)], pa.month_day_nano_interval()),
        ["MonthDayNano(months=1, days=2, nanoseconds=3)"],
    ),
    (
        "uuids",
        pa.array([UUID(int=1).bytes], pa.binary(16)).cast(pa.uuid()),
        [str(UUID(int=1))],
    ),
    (
        "JSON",
        pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": 1}'])),
        ['{"a": 1}'],
    ),
    (
        "bool8",
        pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0], pa.int8())),
        ["true", "false"],
    ),
    (
        "unions",
        pa.UnionArray.from_sparse(
            pa.array([0, 1, 0], pa.int8()),
            [pa.array([1, 2, None]), pa.array(["a", "b", "c"])],
        ),
        ["1", "b", None],
    ),
]


@pytest.mark.parametrize(
    ("array", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_a_type_is_written(array: pa.Array, expected: list[str | None]) -> None:
    """Every Arrow type has its text."""
    assert written(array) == expected


@pytest.mark.parametrize(
    "array", [case[1] for case in CASES], ids=[c[0] for c in CASES]
)
def test_a_part_of_a_column_is_written_as_in_the_whole(array: pa.Array) -> None:
    """Arrow slices share buffers; only what is inside the slice counts."""
    whole = written(array)
    assert written(array.slice(1)) == whole[1:]
    assert written(array.slice(0, 0)) == []


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (
            broken_strings(b"a", b"\xff", b"b"),
            Texts(values=["a", None, "b"], unreadable=[False, True, False]),
        ),
        (
            pa.array([b"\xff", None], pa.binary()),
            Texts(values=[None, None], unreadable=[True, False]),
        ),
        (
            pa.array([[b"\xff"], [b"a"]]),
            Texts(values=[None, '["a"]'], unreadable=[True, False]),
        ),
        (
            pa.array([[1], [1_000]], pa.list_(pa.timestamp("ns"))),
            Texts(
                values=[None, '["1970-01-01T00:00:00.000001"]'],
                unreadable=[True, False],
            ),
        ),
    ],
    ids=["text", "bytes", "bytes inside", "nanoseconds inside"],
)
def test_what_cannot_be_text_is_told_from_what_is_missing(
    array: pa.Array, expected: Texts
) -> None:
    """Only the cell concerned is lost, and it is not taken for a null."""
    texts = as_text(array)
    assert texts.values.to_pylist() == expected.values
    assert texts.unreadable is not None
    assert texts.unreadable.to_pylist() == expected.unreadable


def test_a_chunk_beyond_32_bit_offsets_is_possible() -> None:
    """The text type has room for any chunk, so that none has to be split."""
    assert as_text(pa.array(["a"])).values.type == pa.large_string()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("x", "x"),
        (True, "true"),
        (3, "3"),
        (1.0, "1.0"),
        (float("nan"), None),
        ([1, "é"], '[1,"é"]'),
        ({"a": None}, '{"a":null}'),
    ],
)
def test_a_single_value_is_written_like_a_column(
    value: Any, expected: str | None
) -> None:
    """Defaults in a Function file read like cells."""
    assert text_of(value) == expected
