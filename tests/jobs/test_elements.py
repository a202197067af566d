"""A long array as short ones."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutro_stream.jobs.elements import pieces

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
).filter(lambda value: value not in (float("inf"), float("-inf")))
NASTY = st.text(alphabet='\\",[]{} \n' + "ax\u00e9")


def cut(text: str, *, window_bytes: int) -> list[list[Any]]:
    """The pieces of an array that stands between other bytes."""
    data = text.encode()
    file = io.BytesIO(b'{"inputs": ' + data + b', "x": [1]}')
    return [
        json.loads(piece)
        for piece in pieces(
            file, start=11, end=11 + len(data), window_bytes=window_bytes
        )
    ]


@given(
    rows=st.lists(JSON | NASTY | st.lists(NASTY) | st.dictionaries(NASTY, NASTY)),
    window_bytes=st.integers(1, 64),
    spaced=st.booleans(),
    is_ascii=st.booleans(),
)
def test_pieces_joined_are_the_array(
    rows: list[Any], window_bytes: int, spaced: bool, is_ascii: bool
) -> None:
    """Whatever the elements hold and wherever the window ends."""
    separators = (" , ", " : ") if spaced else (",", ":")
    text = json.dumps(rows, separators=separators, ensure_ascii=is_ascii)
    found = cut(text, window_bytes=window_bytes)
    assert [row for piece in found for row in piece] == rows


@pytest.mark.parametrize(
    "row",
    ["some, text", 'a \\", "b', {"a": "b, c", "d": [1, {"e": "}, {"}]}, 12, [[1], 2]],
)
def test_a_piece_is_about_as_long_as_the_window(row: Any) -> None:
    """Memory does not depend on the number of rows."""
    found = cut(json.dumps([row] * 1000), window_bytes=1000)
    row_bytes = len(json.dumps(row)) + 2
    assert all(len(piece) * row_bytes < 1000 + row_bytes for piece in found)
    assert all(len(piece) * row_bytes > 500 - row_bytes for piece in found[:-1])


def test_a_row_larger_than_the_window_is_a_piece() -> None:
    """The window grows for it, and is small again behind it."""
    rows = ["a" * 5_000, *["b"] * 2_000]
    found = cut(json.dumps(rows), window_bytes=64)
    assert [row for piece in found for row in piece] == rows
    assert max(len(piece) for piece in found[1:]) < 64


def test_rows_nested_very_deeply_are_found() -> None:
    """Then only in one piece."""
    deep: Any = "x"
    for _ in range(100):
        deep = [deep]
    found = cut(json.dumps([deep] * 10), window_bytes=64)
    assert [row for piece in found for row in piece] == [deep] * 10
