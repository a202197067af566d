from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import asdict, dataclass, field, fields, replace

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


@quick
@dataclass(slots=True, eq=False, kw_only=True)
class Changing:
    count: int = 0


def test_it_is_made_like_any_other() -> None:
    """From the same arguments, with the same defaults."""
    made = Quick(text="a", note="n")
    assert (made.text, made.count, made.note) == ("a", 3, "n")
    assert made == Quick(text="a") != Quick(text="a", count=4)
    assert replace(made, count=5) == Quick(text="a", count=5)
    assert repr(made) == "Quick(text='a', count=3, note='n')"


def test_it_stays_frozen() -> None:
    """Only the constructor sets fields."""
    with pytest.raises(AttributeError, match="immutable"):
        Quick(text="a").count = 4  # type: ignore[misc]


def test_it_passes_for_the_dataclass() -> None:
    """Programs may take it apart, store it, and make changed copies of it."""
    made = Quick(text="a", note="n")
    assert asdict(made) == {"text": "a", "count": 3, "note": "n"}
    assert [each.name for each in fields(Quick)] == ["text", "count", "note"]
    assert pickle.loads(pickle.dumps(made)) == made  # noqa: S301 - our own
    assert copy.deepcopy(made) == made
    assert len({made, replace(made, note=None)}) == 1


def test_one_that_changes_is_compared_by_identity() -> None:
    """As the dataclass it was made of."""
    one, other = Changing(count=1), Changing(count=1)
    one.count += 1
    assert one.count == 2
    assert one != other
    assert len({one, other}) == 2


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
