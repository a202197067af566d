"""Results as JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sutro_stream.errors import StoreError
from sutro_stream.jobs.result_streams import results_json
from sutro_stream.jobs.result_table import Selection

ALL = Selection(inputs=True, logprobs=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of results."""
    return tmp_path / "results.parquet"


def write(path: Path, columns: dict[str, Any], *, group: int = 3) -> None:
    """Fill it."""
    pq.write_table(pa.table(columns), path, row_group_size=group)


def text_of(path: Path, selection: Selection = ALL) -> str:
    """All of the JSON."""
    return b"".join(results_json(path, selection)).decode()


def test_columns_are_arrays_in_the_order_of_the_file(path: Path) -> None:
    """With what was selected alone."""
    write(path, {"inputs": ["a", "b"], "id": [1, 2], "outputs": ["x", None]})
    assert text_of(path, Selection()) == '{"id":[1,2],"outputs":["x",null]}'


def test_a_message_stands_beside_the_results(path: Path) -> None:
    """As `job-results` answers."""
    write(path, {"outputs": ["x"]})
    parts = results_json(path, Selection(), message='with "quotes"')
    assert json.loads(b"".join(parts)) == {
        "results": {"outputs": ["x"]},
        "message": 'with "quotes"',
    }


def test_logprobs_that_were_not_given_are_nulls(path: Path) -> None:
    """As many as there are rows."""
    write(path, {"outputs": list("abcde")})
    results = json.loads(text_of(path, Selection(logprobs=True)))
    assert results["cumulative_logprobs"] == [None] * 5


def test_floats_look_like_floats(path: Path) -> None:
    """Also whole, tiny and huge ones, alone and in vectors."""
    numbers = [1.0, -0.0, 0.1, 1e300, 1e-300, 123456789.0, 2.0**70]
    write(path, {"outputs": [numbers], "cumulative_logprobs": [1.0]})
    results = json.loads(text_of(path))
    assert results == {"outputs": [numbers], "cumulative_logprobs": [1.0]}
    assert all(type(number) is float for number in results["outputs"][0])
    assert type(results["cumulative_logprobs"][0]) is float


def test_what_is_no_number_is_null(path: Path) -> None:
    """JSON has no NaN and no infinity."""
    write(path, {"id": [math.nan, math.inf, 0.5], "outputs": ["a", "b", "c"]})
    assert json.loads(text_of(path))["id"] == [None, None, 0.5]


def test_whole_numbers_stay_whole(path: Path) -> None:
    """Up to 64 bits."""
    numbers = [2**63 - 1, -(2**63), 2**53 + 1]
    write(path, {"id": numbers, "outputs": ["a", "b", "c"]})
    results = json.loads(text_of(path))
    assert results["id"] == numbers
    assert all(type(number) is int for number in results["id"])


def test_no_rows_are_empty_arrays(path: Path) -> None:
    """And valid JSON."""
    write(path, {"outputs": pa.array([], pa.large_string())})
    assert text_of(path) == '{"outputs":[],"cumulative_logprobs":[]}'


def test_a_name_of_a_column_is_escaped(path: Path) -> None:
    """Quotes in it stay quotes."""
    write(path, {'my "id"': [1], "outputs": ["a"]})
    assert json.loads(text_of(path, Selection())) == {'my "id"': [1], "outputs": ["a"]}


def test_many_rows_come_in_parts(path: Path) -> None:
    """None of which is large."""
    outputs = [f"{number:0>1000}" for number in range(20_000)]
    write(path, {"outputs": outputs}, group=7_000)
    parts = list(results_json(path, Selection()))
    assert max(map(len, parts)) < 2 << 20
    assert json.loads(b"".join(parts)) == {"outputs": outputs}


def test_the_first_part_tells_that_there_is_no_file(path: Path) -> None:
    """While a status can still be chosen."""
    with pytest.raises(StoreError):
        next(results_json(path, Selection()))


def test_it_can_be_left_early(path: Path) -> None:
    """The file is closed then: it can be removed on every system."""
    write(path, {"outputs": ["a"]})
    parts = results_json(path, Selection())
    next(parts)
    parts.close()  # type: ignore[attr-defined]
    path.unlink()
    assert not path.exists()


@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.text()),
            st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
        ),
        max_size=12,
    ),
    st.integers(min_value=1, max_value=5),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_is_the_table(
    path: Path, rows: list[tuple[str | None, float | None]], group: int
) -> None:
    """Any text and number, in row groups of any size."""
    columns = {
        "outputs": pa.array([text for text, _ in rows], pa.large_string()),
        "cumulative_logprobs": pa.array([number for _, number in rows], pa.float64()),
    }
    write(path, columns, group=group)
    expected = {name: column.to_pylist() for name, column in columns.items()}
    assert json.loads(text_of(path)) == expected
