"""Results as a client reads them."""

from __future__ import annotations

from typing import Any

import orjson
import pyarrow as pa
import pytest

from sutro_stream.errors import ProtocolError
from sutro_stream.wire.result_columns import (
    Output,
    is_plain_text,
    parse_results,
    parse_results_link,
    read_output,
)


@pytest.mark.parametrize(
    "body",
    [
        {"results": {"outputs": ["a", None]}},
        {"outputs": ["a", None]},
        {"results": ["a", None]},
    ],
)
def test_results_as_object_or_list(body: dict[str, Any]) -> None:
    """Always columns."""
    assert parse_results(orjson.dumps(body))["outputs"] == ["a", None]


@pytest.mark.parametrize(
    "body", [{}, {"results": "a"}, {"outputs": ["a"], "inputs": ["a", "b"]}, []]
)
def test_what_are_no_results(body: Any) -> None:
    """Rows that cannot be told apart are none."""
    with pytest.raises(ProtocolError):
        parse_results(orjson.dumps(body))


def test_a_link_without_a_size() -> None:
    """The download finds it out."""
    link = parse_results_link(b'{"urls":{"get":"https://a/b?c=d"}}')
    assert (link.url, link.size_bytes) == ("https://a/b?c=d", None)


@pytest.mark.parametrize("body", [b"{}", b'{"urls":{"get":null}}', b'{"urls":[]}'])
def test_no_link(body: bytes) -> None:
    """Nothing to download."""
    with pytest.raises(ProtocolError):
        parse_results_link(body)


@pytest.mark.parametrize(
    ("cell", "output"),
    [
        (None, None),
        ("text", Output(text="text")),
        ("", Output(text="")),
        ('{"a": 1}', Output(text='{"a": 1}')),
        ([0.5, 1], Output(text="[0.5,1]")),
        (
            '{"reasoning_content":"why","content":"so"}',
            Output(text="so", reasoning="why"),
        ),
        (
            '{"content":{"big": 1e400, "n": 1.0},"reasoning_content":null}',
            Output(text='{"big": 1e400, "n": 1.0}'),
        ),
        (
            '{"reasoning_content":"why","content":null}',
            Output(text=None, reasoning="why"),
        ),
        (
            '{"reasoning_content":"why","content":"so","more":1}',
            Output(text='{"reasoning_content":"why","content":"so","more":1}'),
        ),
        ('"reasoning_content" is a word', Output(text='"reasoning_content" is a word')),
    ],
)
def test_one_output(cell: Any, output: Output | None) -> None:
    """The envelope of a thinking model is opened, and nothing else touched."""
    assert read_output(cell) == output


@pytest.mark.parametrize(
    ("cells", "plain"),
    [
        (pa.array(["a", ""], pa.large_string()), True),
        (pa.array([], pa.large_string()), True),
        (pa.array(["a", None], pa.large_string()), False),
        (pa.array([[0.5]]), False),
        (
            pa.array(['{"reasoning_content":null,"content":1}'], pa.large_string()),
            False,
        ),
        (
            pa.array(
                ["a", "b", '{"reasoning_content":null,"content":1}'], pa.large_string()
            )[:2],
            True,
        ),
    ],
)
def test_plain_text_is_told_from_the_rest(cells: pa.Array, plain: bool) -> None:
    """Column-wise, and by the cells alone that are in it."""
    assert is_plain_text(cells) is plain
    if plain:
        read = [read_output(cell) for cell in cells.to_pylist()]
        assert read == [Output(text=cell) for cell in cells.to_pylist()]
