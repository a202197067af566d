"""Mistakes in outside data as lines that a person can act on."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pytest
from pydantic import ConfigDict, Field, TypeAdapter

from sutro_stream.errors import ConfigurationError
from sutro_stream.values.parsing import parse_json, parse_mapping


@dataclass(frozen=True)
class Item:
    """Part of a made-up file."""

    name: Annotated[str, Field(min_length=1)]
    stop: str | list[str] | None = None


@dataclass(frozen=True)
class Made:
    """A made-up file."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    items: list[Item]
    size: int = 0


ADAPTER = TypeAdapter(Made)


def test_data_that_fits_is_parsed() -> None:
    """The same from JSON as from a mapping."""
    made = Made(items=[Item(name="a", stop=["b"])], size=3)
    data = {"items": [{"name": "a", "stop": ["b"]}], "size": 3}
    assert parse_mapping(ADAPTER, data, what="it") == made
    raw = b'{"items": [{"name": "a", "stop": ["b"]}], "size": 3}'
    assert parse_json(ADAPTER, raw, what="it") == made


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "it: items is required"),
        ([], "it: input should be an object"),
        ({"items": [], "sise": 1}, "it: sise is not a known field"),
        ({"items": [7]}, "it: items[0]: input should be an object"),
        ({"items": [{"name": "a"}, {}]}, "it: items[1].name is required"),
        (
            {"items": [{"name": "a", "stop": 7}]},
            (
                "it: items[0].stop: input should be a valid string, "
                "or input should be a valid list"
            ),
        ),
        (
            {"items": [{"name": ""}], "size": "x"},
            (
                "it:\n"
                "  - items[0].name: string should have at least 1 character\n"
                "  - size: input should be a valid integer, unable to parse string "
                "as an integer"
            ),
        ),
    ],
)
def test_each_mistake_is_a_line_with_its_place(data: Any, message: str) -> None:
    """One mistake stays on the line, several are listed."""
    with pytest.raises(ConfigurationError) as caught:
        parse_mapping(ADAPTER, data, what="it")
    assert str(caught.value) == message


def test_broken_json_says_where_it_breaks() -> None:
    """Line and column are those of the text."""
    with pytest.raises(ConfigurationError, match=r"it: invalid JSON: .* at line 2"):
        parse_json(ADAPTER, b'{"items":\n x}', what="it")


def test_a_message_never_shows_the_value() -> None:
    """A file may hold secrets; a mistake beside them must not print them."""
    with pytest.raises(ConfigurationError) as caught:
        parse_mapping(ADAPTER, {"items": [], "size": "private"}, what="it")
    assert "private" not in str(caught.value)
    assert caught.value.__cause__ is None
