"""Columns of ASCII text."""

from __future__ import annotations

import pyarrow as pa
import pytest

from sutro_stream.values.ascii import is_ascii


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
@pytest.mark.parametrize(
    ("first", "count", "expected"),
    [(0, 3, True), (0, 4, False), (3, 1, False), (4, 1, True), (5, 0, True)],
)
def test_only_the_rows_of_a_slice_count(
    kind: pa.DataType, first: int, count: int, expected: bool
) -> None:
    """Not what lies beside them in the same buffer."""
    texts = pa.array(["a", None, "b", "\u00e9", "x"], kind).slice(first, count)
    assert is_ascii(texts) is expected


@pytest.mark.parametrize("values", [[], [None], [""], [None, "", None]])
def test_nothing_is_ascii(values: list[str | None]) -> None:
    """No rows, no values, no text."""
    assert is_ascii(pa.array(values, pa.string()))


@pytest.mark.parametrize("values", [[1], [b"a"], [["a"]]])
def test_other_types_are_not_told(values: list[object]) -> None:
    """They are for others to check."""
    assert not is_ascii(pa.array(values))
