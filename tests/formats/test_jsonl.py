"""JSON in lines, in an array, and over several lines, as people have it."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sutro_stream.errors import SourceError
from sutro_stream.formats.csv_options import CsvOptions
from sutro_stream.sources.files import FileSource
from sutro_stream.testing.source_suite import read_refused

FIELD = Path(__file__).parent.parent / "field" / "data" / "files"


def _written(folder: Path, data: bytes, name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


async def _rows(source: FileSource) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    async with source.open(None) as reader:
        while (batch := await reader.read()) is not None:
            rows += batch.records.to_pylist()
    return rows


async def _values(path: Path) -> list[dict[str, Any]]:
    return await _rows(FileSource(paths=path))


async def test_objects_in_lines_are_rows() -> None:
    """The columns are their names, the types what the values are."""
    assert await _values(FIELD / "rows.jsonl") == [
        {"id": 1, "review": "Lamp"},
        {"id": 2, "review": "Broke"},
    ]


async def test_a_name_that_comes_late_is_null_before() -> None:
    """The whole file is looked at."""
    assert [row["extra"] for row in await _values(FIELD / "late_key.jsonl")] == [
        None,
        "x",
    ]


async def test_an_array_of_objects_is_rows() -> None:
    """As a file of lines is."""
    assert await _values(FIELD / "array.json") == await _values(FIELD / "rows.jsonl")


async def test_objects_over_several_lines_are_rows(tmp_path: Path) -> None:
    """One behind the other, without an array around them."""
    path = _written(tmp_path, b'{\n  "a": 1,\n  "b": {}\n}\n{\n  "a": 2\n}\n')
    assert await _values(path) == [{"a": 1, "b": "{}"}, {"a": 2, "b": None}]


async def test_types_widen_to_what_holds_all_values(tmp_path: Path) -> None:
    """Whole numbers beside others, NaN, and text beside anything else."""
    rows = b'{"a":1,"b":1}\n{"a":1.5,"b":"x"}\n{"a":NaN,"b":[1,{"c":null}]}\n'
    assert await _values(_written(tmp_path, rows)) == [
        {"a": 1.0, "b": "1"},
        {"a": 1.5, "b": "x"},
        {"a": None, "b": '[1,{"c":null}]'},
    ]


async def test_whole_numbers_that_no_column_holds_are_text(tmp_path: Path) -> None:
    """They are not rounded."""
    path = _written(tmp_path, b'{"a":99999999999999999999}\n{"a":1}\n')
    assert await _values(path) == [{"a": "99999999999999999999"}, {"a": "1"}]


async def test_what_is_no_object_is_a_refused_row(tmp_path: Path) -> None:
    """In its place, and the rows around it are read."""
    path = _written(tmp_path, b'{"a":1}\n{bad\n\n[3]\nnull\n{"a":2}{"a":3}\n{"a":4}')
    source = FileSource(paths=path)
    assert [row["a"] for row in await _rows(source)] == [
        *(1, None, None, None, None, 4)
    ]
    refused = await read_refused(source)
    assert [offset for offset, _ in refused] == [1, 2, 3, 4]
    assert "line 2: not JSON" in refused[0][1]
    assert "line 4: not an object" in refused[1][1]


@pytest.mark.parametrize("text", [b"\xff", b"\\ud800"])
async def test_bytes_that_are_no_text_refuse_their_cell(
    tmp_path: Path, text: bytes
) -> None:
    """The place of the row is named."""
    path = _written(tmp_path, b'{"a":"ok"}\n{"a":"x' + text + b'"}\n')
    ((offset, reason),) = await read_refused(FileSource(paths=path))
    assert (offset, reason) == (1, f"{path}: line 2, column 'a': not all of it is text")


async def test_bytes_that_are_no_text_are_replaced_when_that_is_wanted(
    tmp_path: Path,
) -> None:
    """Nothing is refused then."""
    path = _written(tmp_path, b'{"a":"x\xff"}\n')
    options = CsvOptions(encoding_errors="replace")
    source = FileSource(paths=path, options=options)
    assert (await _rows(source))[0] == {"a": "x\ufffd"}
    assert await read_refused(source) == []


async def test_an_array_that_is_cut_off_is_an_error(tmp_path: Path) -> None:
    """Not a shorter input."""
    path = _written(tmp_path, b'[{"a":1},{"a":', "rows.json")
    with pytest.raises(SourceError, match="value 2 of the file"):
        await _rows(FileSource(paths=path))


@pytest.mark.parametrize("data", [b"", b"\n \n", b"[]"])
async def test_a_file_without_values_has_no_rows(tmp_path: Path, data: bytes) -> None:
    """Which is most likely a mistake."""
    with pytest.raises(SourceError, match="has no rows"):
        await _rows(FileSource(paths=_written(tmp_path, data)))


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["x", "y"]), inner, max_size=2)
    ),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    rows=st.lists(
        st.dictionaries(st.sampled_from(["a", "b c", ""]), _JSON, min_size=1),
        min_size=1,
        max_size=8,
    )
)
async def test_lines_and_arrays_are_the_same_rows(
    tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    """Whatever values are in them; nothing is refused."""
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    one = FileSource(paths=_written(tmp_path, lines))
    array = json.dumps(rows, indent=1).encode()
    other = FileSource(paths=_written(tmp_path, array, "rows.json"))
    assert await read_refused(one) == []
    first, second = await _rows(one), await _rows(other)
    assert first == second
    assert len(first) == len(rows)
    for name in {name for row in rows for name in row}:
        cells = [row[name] for row in first]
        given = [row.get(name) for row in rows]
        if all(isinstance(cell, str | None) for cell in given):
            assert cells == given


async def test_types_are_those_of_arrow(tmp_path: Path) -> None:
    """Lists and objects keep their structure."""
    path = _written(tmp_path, b'{"a":[1,null],"b":{"c":true},"d":"2020-01-01"}\n')
    async with FileSource(paths=path).open(None) as reader:
        assert reader.schema == pa.schema(
            [
                ("a", pa.list_(pa.int64())),
                ("b", pa.struct([("c", pa.bool_())])),
                ("d", pa.string()),
            ]
        )


async def test_a_json_file_beside_others_is_not_one_of_rows(tmp_path: Path) -> None:
    """It is a schema, most likely, or what somebody notes; alone it is rows."""
    _written(tmp_path, b"[{}]", "schema.json")
    _written(tmp_path, b'{"a":1}\n')
    assert await _values(tmp_path) == [{"a": 1}]
    (tmp_path / "rows.jsonl").unlink()
    assert await _values(tmp_path) == [{}]
