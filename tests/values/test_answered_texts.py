"""Answers without an object for each, which read as outcomes."""

from __future__ import annotations

import pyarrow as pa

from sutro_stream.values.outcomes import (
    Answer,
    AnsweredTexts,
    ErrorKind,
    Outcome,
    RowError,
    joined_outcomes,
)

FAILED = Outcome(error=RowError(kind=ErrorKind.NO_ANSWER, message="none"))


def answered(*texts: str) -> AnsweredTexts:
    """Some of them."""
    return AnsweredTexts(pa.array(texts, pa.large_string()))


def outcome(text: str) -> Outcome:
    """What each of them is."""
    return Outcome(answer=Answer(text=text), attempts=1)


def test_each_is_an_outcome() -> None:
    """By its place, and one after the other."""
    texts = answered("a", "", "c")
    assert len(texts) == 3
    assert texts[2] == outcome("c")
    assert list(texts) == [outcome("a"), outcome(""), outcome("c")]


def test_a_part_of_them_is_more_of_the_same() -> None:
    """Without an object for any."""
    part = answered("a", "b", "c")[1:]
    assert isinstance(part, AnsweredTexts)
    assert list(part) == [outcome("b"), outcome("c")]


def test_joined_they_stay_as_they_are() -> None:
    """In order."""
    joined = joined_outcomes([answered("a"), answered("b", "c")])
    assert isinstance(joined, AnsweredTexts)
    assert joined.texts.to_pylist() == ["a", "b", "c"]


def test_joined_with_others_they_are_outcomes() -> None:
    """In order as well."""
    joined = joined_outcomes([answered("a"), [FAILED]])
    assert list(joined) == [outcome("a"), FAILED]
