"""Rendering against a plain Python reference, for any values and any chunks."""

import json
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given, settings
from hypothesis import strategies as st

from sutro_stream.flow.meter import Meter
from sutro_stream.flow.stage import RunContext
from sutro_stream.rendering.columns import Prompts
from sutro_stream.rendering.function import Render
from sutro_stream.rendering.text import as_text
from sutro_stream.values.function import Function
from sutro_stream.values.layout import Shape
from sutro_stream.values.outcomes import ErrorKind
from sutro_stream.values.rows import RowBatch

unhurried = settings(deadline=None)  # a busy machine is no failure
BERLIN = ZoneInfo("Europe/Berlin")

# Text that would betray a second pass, a regular expression or a join gone wrong.
texts = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=8),
    st.sampled_from(["", "{{ a }}", "{{b}}", "}}", "\\1", "%s", "\x00", "NaN", "007"]),
)
floats = st.floats(width=64)
integers = st.integers(-(2**63), 2**63 - 1)
moments = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31))  # noqa: DTZ001
decimals = st.decimals(-(10**12), 10**12, places=4)

COLUMNS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "string": (pa.string(), texts),
    "large_string": (pa.large_string(), texts),
    "string_view": (pa.string_view(), texts),
    "coded": (pa.dictionary(pa.int32(), pa.string()), texts),
    "binary": (pa.binary(), texts.map(str.encode)),
    "int64": (pa.int64(), integers),
    "uint64": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "int8": (pa.int8(), st.integers(-128, 127)),
    "double": (pa.float64(), floats),
    "bool": (pa.bool_(), st.booleans()),
    "null": (pa.null(), st.none()),
    "decimal": (pa.decimal128(30, 4), decimals),
    "small_decimal": (pa.decimal128(30, 12), decimals.map(lambda x: x.scaleb(-8))),
    "date": (pa.date32(), st.dates()),
    "date64": (pa.date64(), st.dates()),
    "time": (pa.time64("us"), st.times()),
    "time_s": (pa.time32("s"), st.times().map(lambda x: x.replace(microsecond=0))),
    "moment": (pa.timestamp("us"), moments),
    "moment_s": (pa.timestamp("s"), moments.map(lambda x: x.replace(microsecond=0))),
    "utc": (pa.timestamp("us", "UTC"), moments.map(lambda x: x.replace(tzinfo=UTC))),
    "zone": (
        pa.timestamp("us", "Europe/Berlin"),
        st.datetimes(datetime(1900, 1, 1), datetime(2037, 1, 1)).map(  # noqa: DTZ001
            lambda x: x.replace(tzinfo=UTC).astimezone(BERLIN)
        ),
    ),
    "duration": (
        pa.duration("us"),
        st.timedeltas(timedelta(days=-(10**8)), timedelta(days=10**8)),
    ),
    "list": (pa.list_(pa.float64()), st.lists(st.none() | floats, max_size=3)),
    "texts": (pa.large_list(pa.string()), st.lists(texts, max_size=3)),
    "struct": (
        pa.struct([("a", pa.string()), ("é", pa.list_(pa.int64()))]),
        st.fixed_dictionaries({"a": texts, "é": st.lists(integers, max_size=2)}),
    ),
}


def reference(value: Any) -> str | None:
    """What the contract says about one Python value."""
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (list, dict)):
        return as_json(value)
    return None if value is None else str(value)


def as_json(value: Any) -> str:
    """JSON without spaces, as any parser reads it back; NaN and such are null."""
    if isinstance(value, dict):
        pairs = (f"{as_json(key)}:{as_json(cell)}" for key, cell in value.items())
        return "{" + ",".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(as_json, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return "null"
    return json.dumps(value, ensure_ascii=False)


def same_text(actual: str | None, value: Any) -> bool:
    """Whether `actual` is the text of `value`."""
    expected = reference(value)
    if not isinstance(value, (list, dict)) or actual is None:
        return actual == expected
    # JSON may write the same number and the same character in several ways.
    return expected is not None and json.loads(actual) == json.loads(expected)


@dataclass(frozen=True)
class Table:
    """Columns with the Python values they were made of."""

    types: tuple[pa.DataType, ...]
    cells: tuple[list[Any], ...]

    @property
    def names(self) -> list[str]:
        """One letter for each column."""
        return [*"abcd"][: len(self.types)]

    @property
    def row_count(self) -> int:
        """Rows there are."""
        return len(self.cells[0])

    def records(self) -> pa.RecordBatch:
        """The whole table."""
        arrays = [
            pa.array(cells, kind)
            for cells, kind in zip(self.cells, self.types, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, self.names)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """One to four columns of any types, with nulls."""
    kinds = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=4))
    row_count = draw(st.integers(1, 6))
    cells = [
        draw(
            st.lists(
                st.none() | COLUMNS[kind][1], min_size=row_count, max_size=row_count
            )
        )
        for kind in kinds
    ]
    return Table(types=tuple(COLUMNS[kind][0] for kind in kinds), cells=tuple(cells))


def templates(names: Sequence[str]) -> st.SearchStrategy[str]:
    """Templates over these fields; literals hold whatever is not a place."""
    literal = texts.map(lambda text: text.replace("{{", "").replace("{", ""))
    place = st.sampled_from(names).map(lambda name: f"{{{{ {name} }}}}")
    return st.lists(literal | place, max_size=6).map("".join)


def cuts(row_count: int) -> st.SearchStrategy[list[int]]:
    """Where to cut that many rows into chunks."""
    inner = st.sets(st.integers(1, max(1, row_count - 1)), max_size=3)
    return inner.map(lambda at: [0, *sorted(at & set(range(row_count))), row_count])


def chunks(table: Table, at: Sequence[int]) -> list[RowBatch]:
    """The table in chunks, as a source would send them."""
    records = table.records()
    return [
        RowBatch(records=records.slice(start, stop - start), first_index=start)
        for start, stop in pairwise(at)
    ]


@unhurried
@given(st.data())
def test_a_column_of_any_type_reads_as_python_writes_it(data: st.DataObject) -> None:
    """Vectorised or not, the text is that of the value alone."""
    table = data.draw(tables())
    for array, cells in zip(table.records().columns, table.cells, strict=True):
        written = as_text(array)
        assert written.unreadable is None
        actual = written.values.to_pylist()
        assert all(map(same_text, actual, cells)), (array.type, actual, cells)


@unhurried
@given(st.lists(st.none() | st.floats(width=32), min_size=1))
def test_a_float32_reads_with_its_own_digits(cells: list[float | None]) -> None:
    """The text gives the same float32 again, in at most nine digits."""
    for text, cell in zip(
        as_text(pa.array(cells, pa.float32())).values.to_pylist(), cells, strict=True
    ):
        if cell is None or math.isnan(cell):
            assert text is None
            continue
        assert struct.pack("f", float(text)) == struct.pack("f", cell)
        assert text == str(float(text))
        digits = text.split("e")[0].replace(".", "").lstrip("-0").rstrip("0")
        assert len(digits) <= 9


@unhurried
@given(st.lists(st.none() | texts, min_size=1), st.data())
def test_runs_and_codes_read_like_the_plain_column(
    cells: list[str | None], data: st.DataObject
) -> None:
    """How Arrow stores a column does not show."""
    start = data.draw(st.integers(0, len(cells) - 1))
    plain = pa.array(cells, pa.string())
    for stored in (plain.dictionary_encode(), pc.run_end_encode(plain)):
        assert as_text(stored.slice(start)).values.to_pylist() == cells[start:]


@unhurried
@given(st.data())
def test_a_function_renders_as_the_reference_does(data: st.DataObject) -> None:
    """Rows in = prompts out, refused rows in their places, for any chunking."""
    table = data.draw(tables())
    text = data.draw(templates(table.names))
    required = data.draw(st.lists(st.booleans(), min_size=4, max_size=4))
    function = Function.validate(
        {
            "name": "test",
            "prompt_template": text,
            "inputs": [
                {"name": name, "required": needed}
                for name, needed in zip(table.names, required, strict=False)
            ],
        }
    )
    shape = Shape(kind=RowBatch, rows=table.records().schema)
    step = Render(function=function).bind(shape, RunContext(meter=Meter()))
    prompts = [
        prompt
        for rows in chunks(table, data.draw(cuts(table.row_count)))
        for prompt in step.prompts(rows).items()
    ]
    assert [prompt.index for prompt in prompts] == list(range(table.row_count))
    for prompt, row in zip(prompts, zip(*table.cells, strict=True), strict=True):
        # Columns prove themselves above; here the text of each cell is given.
        given_cells = dict(zip(table.names, row, strict=True))
        missing = [
            name
            for name, needed in zip(table.names, required, strict=False)
            if needed and reference(given_cells[name]) is None
        ]
        if missing:
            assert prompt.text is None
            assert prompt.error is not None
            assert prompt.error.kind is ErrorKind.MISSING_VALUE
            assert prompt.error.field == missing[0]
            continue
        cells = {
            name: as_text(pa.array([cell], kind)).values[0].as_py() or ""
            for (name, cell), kind in zip(given_cells.items(), table.types, strict=True)
        }
        assert prompt.error is None
        assert prompt.text == function.template.fill(cells)


@unhurried
@given(
    st.lists(st.tuples(st.none() | texts, st.none() | texts), min_size=1, max_size=8),
    texts,
    st.data(),
)
def test_joined_columns_are_joined_as_python_joins(
    rows: list[tuple[str | None, str | None]], separator: str, data: st.DataObject
) -> None:
    """Null is "", every separator is there, for any chunking."""
    table = Table(
        types=(pa.string(), pa.string()),
        cells=([a for a, _ in rows], [b for _, b in rows]),
    )
    shape = Shape(kind=RowBatch, rows=table.records().schema)
    step = Prompts(column=["b", "a"], separator=separator).bind(
        shape, RunContext(meter=Meter())
    )
    prompts = [
        text
        for chunk in chunks(table, data.draw(cuts(table.row_count)))
        for text in step.prompts(chunk).texts.to_pylist()
    ]
    assert prompts == [f"{b or ''}{separator}{a or ''}" for a, b in rows]


@unhurried
@given(
    st.lists(
        st.one_of(
            st.none(),
            texts,
            integers.map(str),
            floats.map(str),
            st.from_regex(r"\A[+-]?\d{1,3}(\.0)?\Z"),
        ),
        min_size=1,
    ),
    st.sampled_from(["integer", "number"]),
    st.data(),
)
def test_cells_of_another_type_are_refused_for_any_chunking(
    cells: list[str | None], declared: str, data: st.DataObject
) -> None:
    """What is accepted is a number for Python as well, and goes on unchanged."""
    function = Function.validate(
        {
            "name": "test",
            "prompt_template": "{{ a }}",
            "inputs": [{"name": "a", "type": declared}],
        }
    )
    table = Table(types=(pa.string(),), cells=(cells,))
    shape = Shape(kind=RowBatch, rows=table.records().schema)
    step = Render(function=function).bind(shape, RunContext(meter=Meter()))
    for chunk in chunks(table, data.draw(cuts(table.row_count))):
        for prompt in step.prompts(chunk).items():
            cell = cells[prompt.index]
            if not cell:
                assert prompt.error is not None
                assert prompt.error.kind is ErrorKind.MISSING_VALUE
            elif prompt.error is not None:
                assert prompt.error.kind is ErrorKind.WRONG_TYPE
                assert not cell.isascii() or not cell.lstrip("+-").isdigit()
            else:
                assert prompt.text == cell
                assert declared == "number" or Decimal(cell) % 1 == 0
                assert math.isfinite(Decimal(cell))
