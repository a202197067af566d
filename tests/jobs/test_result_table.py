"""Reading a file of results a part at a time."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sutro_stream.errors import StoreError
from sutro_stream.jobs.result_table import Selection, opened

SCHEMA = pa.schema(
    [
        ("inputs", pa.large_string()),
        ("id", pa.int64()),
        ("outputs", pa.large_string()),
        ("cumulative_logprobs", pa.float64()),
        ("confidence_score", pa.float64()),
    ]
)


@pytest.mark.parametrize(
    ("selection", "names"),
    [
        (Selection(), ["id", "outputs", "confidence_score"]),
        (Selection(inputs=True), ["inputs", "id", "outputs", "confidence_score"]),
        (
            Selection(logprobs=True),
            ["id", "outputs", "cumulative_logprobs", "confidence_score"],
        ),
        (Selection(inputs=True, logprobs=True), SCHEMA.names),
    ],
)
def test_a_selection_gives_what_was_asked_for(
    selection: Selection, names: list[str]
) -> None:
    """The ID, the outputs and the confidence always; in the file's order."""
    assert selection.of(SCHEMA).names == names


def test_logprobs_that_the_model_did_not_give_are_a_column_of_nulls() -> None:
    """Who asks for them finds them."""
    schema = pa.schema([("inputs", pa.large_string()), ("outputs", pa.large_string())])
    columns = Selection(logprobs=True).of(schema)
    assert columns.names == ["outputs", "cumulative_logprobs"]


def test_rows_come_in_order_over_all_row_groups(tmp_path: Path) -> None:
    """None is lost and none comes twice."""
    path = tmp_path / "results.parquet"
    table = pa.table({"outputs": [str(number) for number in range(10_000)]})
    pq.write_table(table, path, row_group_size=4_500)
    with opened(path) as results:
        batches = list(results.batches(table.schema))
    assert pa.Table.from_batches(batches) == table


def test_large_rows_come_in_small_pieces(tmp_path: Path) -> None:
    """Down to one row."""
    path = tmp_path / "results.parquet"
    table = pa.table({"outputs": [letter * 700_000 for letter in "abcdefg"]})
    pq.write_table(table, path)
    with opened(path) as results:
        batches = list(results.batches(table.schema))
    assert [batch.num_rows for batch in batches] == [1] * 7
    assert pa.Table.from_batches(batches) == table


@pytest.mark.parametrize("name", ["outputs.a", "outputs.list.element", "", ".", "*"])
def test_an_odd_name_of_a_column_is_just_a_name(tmp_path: Path, name: str) -> None:
    """Also where it looks like a part of another column."""
    path = tmp_path / "results.parquet"
    table = pa.table({name: [1, 2], "outputs": [[1.0], [2.0]]})
    pq.write_table(table, path)
    with opened(path) as results:
        for column in (name, "outputs"):
            wanted = table.select([column])
            (batch,) = results.batches(wanted.schema)
            assert pa.Table.from_batches([batch]) == wanted


def test_a_file_that_is_not_there_is_an_error_of_the_store(tmp_path: Path) -> None:
    """It names the file."""
    path = tmp_path / "results.parquet"
    with pytest.raises(StoreError, match=r"results\.parquet") as caught, opened(path):
        pass
    assert caught.value.path == str(path)


def test_a_damaged_file_is_an_error_of_the_store(tmp_path: Path) -> None:
    """Also when it shows only while reading."""
    path = tmp_path / "results.parquet"
    table = pa.table({"outputs": [str(number) * 40 for number in range(9_000)]})
    pq.write_table(table, path, row_group_size=3_000)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3_000] = b"\xff" * 3_000
    path.write_bytes(content)
    with opened(path) as results, pytest.raises(StoreError, match="cannot read"):
        list(results.batches(table.schema))


def test_a_failure_of_the_reader_is_not_taken_for_one_of_the_file(
    tmp_path: Path,
) -> None:
    """A full disk elsewhere is no unreadable file."""
    path = tmp_path / "results.parquet"
    pq.write_table(pa.table({"outputs": ["a"]}), path)
    with pytest.raises(OSError, match=r"^full$"), opened(path) as results:
        for _ in results.batches(results.schema):
            raise OSError("full")
