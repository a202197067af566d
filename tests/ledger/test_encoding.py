"""Outcomes as bytes and back, where it is easy to lose something."""

from __future__ import annotations

import math

import orjson
import pytest

from sutro_stream.ledger.encoding import (
    Shared,
    checksum,
    decode,
    encode,
    encode_shared,
)
from sutro_stream.values.outcomes import (
    Answer,
    ErrorKind,
    Outcome,
    RowError,
    TokenLogprob,
    Usage,
)


def structured(text: str) -> Outcome:
    """An outcome whose value was parsed from its text."""
    return Outcome(answer=Answer(text=text), value=orjson.loads(text), attempts=1)


@pytest.mark.parametrize(
    ("extracted", "seconds"), [(True, None), (False, 0.25), (True, 1.5)]
)
def test_what_is_seldom_known_of_an_outcome_is_kept(
    extracted: bool,
    seconds: float | None,
) -> None:
    """A value that its text does not stand for among it."""
    outcome = Outcome(
        answer=Answer(text="</think>[1]"),
        value=[1],
        attempts=1,
        extracted=extracted,
        seconds=seconds,
    )
    assert decode(encode(outcome)) == outcome


def test_bodies_stay_as_they_were() -> None:
    """Those of earlier versions are read, and read these."""
    assert len(orjson.loads(encode(structured("[1]")))) == 4


def test_everything_about_an_answer_is_kept() -> None:
    """Every field, also of an answer that did not pass."""
    outcome = Outcome(
        answer=Answer(
            text="a\0é😀",
            finish_reason="length",
            usage=Usage(input_tokens=1, output_tokens=2, cached_tokens=3),
            model="m",
            reasoning="because",
            refusal="no",
            logprobs=(
                TokenLogprob(token="a", logprob=-0.1),
                TokenLogprob(
                    token="",
                    logprob=-math.inf,
                    alternatives=(("b", -1e-300), ("c", -math.inf)),
                ),
            ),
        ),
        error=RowError(kind=ErrorKind.INVALID_OUTPUT, message="why", field="f"),
        attempts=7,
    )
    assert decode(encode(outcome)) == outcome


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1}',
        ' { "a" : 1.0, "b": [true, null], "b": 2 } ',
        "1",
        "1.0",
        "true",
        '"a"',
        "[" * 900 + "]" * 900,
        "9007199254740993",
        '"\\u0000\\ud83d\\ude00"',
    ],
)
def test_a_value_that_its_text_stands_for_is_not_stored(text: str) -> None:
    """And comes back with the very types it had."""
    outcome = structured(text)
    body = encode(outcome)
    assert len(body) < 2 * len(text) + 60
    found = decode(body)
    assert found == outcome
    assert isinstance(found, Outcome)
    assert repr(found.value) == repr(outcome.value)


@pytest.mark.parametrize(
    "value", [1, 1.0, True, "1", {"a": [1, 1.5, None]}, [], False], ids=repr
)
@pytest.mark.parametrize("text", ["1", "not JSON", '{"a": [1, 1.50, null]}', "true"])
def test_a_value_of_its_own_is_kept_beside_the_text(value: object, text: str) -> None:
    """Equal in Python is not enough to be told from the text."""
    outcome = Outcome(answer=Answer(text=text), value=value)
    found = decode(encode(outcome))
    assert isinstance(found, Outcome)
    assert repr(found.value) == repr(value)


def test_a_value_without_an_answer_is_kept() -> None:
    """`true` is a value like others."""
    assert decode(encode(Outcome(value=True))) == Outcome(value=True)


@pytest.mark.parametrize("value", [object(), {1: 2}, "\ud800"])
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    """Rather than changed."""
    with pytest.raises(TypeError):
        encode(Outcome(value=value))


def test_a_shared_outcome_tells_its_leader() -> None:
    """And the requests of its own."""
    shared = Shared(leader=2**40, attempts=1)
    assert decode(encode_shared(1, 2**40)) == shared


def test_a_checksum_belongs_to_one_row_and_prompt() -> None:
    """The same body elsewhere has another one."""
    checks = {
        checksum(1, 5, b"a"),
        checksum(2, 5, b"a"),
        checksum(1, 6, b"a"),
        checksum(1, 5 + 2**60, b"a"),
        checksum(1, 5, b"b"),
    }
    assert len(checks) == 5
