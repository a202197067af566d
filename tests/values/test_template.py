"""Parsing and filling prompt templates."""

import pytest

from sutro_stream.errors import ConfigurationError
from sutro_stream.values.template import Template


@pytest.mark.parametrize(
    ("text", "literals", "fields"),
    [
        ("", ("",), ()),
        ("no place", ("no place",), ()),
        ("{{a}}", ("", ""), ("a",)),
        ("x {{ a }} y {{  b\n}}{{ a }}", ("x ", " y ", "", ""), ("a", "b", "a")),
        ("{{ Price (USD) }}", ("", ""), ("Price (USD)",)),
        ("{{ a.b }} {{ 'c' }}", ("", " ", ""), ("a.b", "'c'")),
        ('{"a": {"b": {{ x }}}}', ('{"a": {"b": ', "}}"), ("x",)),
        ("{ a } }} {% if %}", ("{ a } }} {% if %}",), ()),
    ],
)
def test_text_is_split_at_its_places(
    text: str, literals: tuple[str, ...], fields: tuple[str, ...]
) -> None:
    """Only `{{ field }}` is a place; single braces are text."""
    assert Template.parse(text) == Template(literals=literals, fields=fields)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{{ a", "'{{' without its '}}'"),
        ("{{ a }} {{", "'{{' without its '}}'"),
        ("{{ }}", "is not a field name"),
        ("{{ {a} }}", "{{ {a} }} is not a field name"),
        ("{{{ a }}}", "{{ { a }} is not a field name"),
    ],
)
def test_a_broken_place_is_refused(text: str, part: str) -> None:
    """The message shows the place, or says which half is missing."""
    with pytest.raises(ConfigurationError) as caught:
        Template.parse(text)
    assert str(caught.value).startswith("prompt_template: ")
    assert part in str(caught.value)


def test_filling_is_a_single_pass() -> None:
    """A value that looks like a place stays text."""
    template = Template.parse("{{ a }} and {{ b }}")
    assert template.fill({"a": "{{ b }}", "b": "x"}) == "{{ b }} and x"


def test_filling_needs_every_field() -> None:
    """A forgotten value is an error, not an empty text."""
    with pytest.raises(KeyError):
        Template.parse("{{ a }}{{ b }}").fill({"a": "x"})
