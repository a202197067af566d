from __future__ import annotations

import inspect
from dataclasses import FrozenInstanceError, dataclass, field, replace

import pytest

from sutro_stream.values.quick import quick


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    text: str
    count: int = 3
    note: str | None = field(default=None, compare=False)


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Quick:
    text: str
    count: int = 3
    note: str | None = field(default=None, compare=False)


def test_it_is_made_like_any_other() -> None:
    """From the same arguments, with the same defaults."""
    made = Quick(text="a", note="n")
    assert (made.text, made.count, made.note) == ("a", 3, "n")
    assert made == Quick(text="a") != Quick(text="a", count=4)
    assert replace(made, count=5) == Quick(text="a", count=5)
    assert repr(made) == "Quick(text='a', count=3, note='n')"


def test_it_stays_frozen() -> None:
    """Only the constructor sets fields."""
    with pytest.raises(FrozenInstanceError):
        Quick(text="a").count = 4  # type: ignore[misc]


def test_it_has_the_same_signature() -> None:
    """What is wrong for one is wrong for the other."""
    assert [*inspect.signature(Quick).parameters] == ["text", "count", "note"]
    for wrong in ({}, {"text": "a", "other": 1}):
        for cls in (Plain, Quick):
            with pytest.raises(TypeError, match="argument"):
                cls(**wrong)  # type: ignore[arg-type]


def test_what_needs_more_than_setting_fields_is_refused() -> None:
    """It would be left out silently."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Listed:
        items: list[int] = field(default_factory=list)

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Checked:
        count: int

        def __post_init__(self) -> None:
            """Check."""

    for cls in (Listed, Checked):
        with pytest.raises(TypeError, match="usual __init__"):
            quick(cls)
