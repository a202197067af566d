"""Outcomes as bytes, whole and checkable, and back.

A body is a JSON array. JSON because it takes any text, is a tenth of a microsecond
to write and can be read by people; an array because names would double its size.

What has its default is left out at the end of the array, so that what was written
before it was known is read, and most bodies stay as short as they were.

A parsed value is not stored when the text of the answer stands for it: whether it
does is tried at writing, by parsing the text and comparing what both encode to, so
that `1`, `1.0` and `true` stay apart. Reading parses the text again.
"""

from __future__ import annotations

import marshal
import math
import zlib
from dataclasses import dataclass
from typing import Any

import orjson

from sutro_stream.values.outcomes import (
    Answer,
    ErrorKind,
    Outcome,
    RowError,
    TokenLogprob,
    Usage,
)

# Values that came from JSON hold none of these; they would come back changed.
_ONLY_JSON = (
    orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)
_MASK = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A row that has the outcome of another one.

    Attributes:
        leader: Index of that row.
        attempts: Requests sent for this row itself.
    """

    leader: int
    attempts: int


def encode(outcome: Outcome) -> bytes:
    """The body of a row's own outcome.

    Raises:
        TypeError: It holds something that JSON cannot.
    """
    answer, error, value = outcome.answer, outcome.error, outcome.value
    text = None if answer is None else answer.text
    fields = (
        outcome.attempts,
        None if error is None else (error.kind, error.message, error.field),
        None if answer is None else _answer(answer),
        None if value is None else _value(value, text),
    )
    if outcome.seconds is not None:
        return orjson.dumps((*fields, outcome.extracted, outcome.seconds))
    return orjson.dumps((*fields, True) if outcome.extracted else fields)


def encode_shared(attempts: int, leader: int) -> bytes:
    """The body of a row that shares the outcome of another one, its leader."""
    return orjson.dumps((attempts, leader))


def decode(body: bytes) -> Outcome | Shared:
    """What a body stands for, equal to what was encoded.

    Raises:
        ValueError: It is not a body.
    """
    fields = orjson.loads(body)
    if len(fields) == 2:
        return Shared(attempts=fields[0], leader=fields[1])
    attempts, error, answer, value, *further = fields
    decoded = None if answer is None else _decoded_answer(answer)
    if value is True and decoded is not None:
        value = orjson.loads(decoded.text)
    elif value is not None:
        value = orjson.loads(value)
    if error is not None:
        kind, message, field = error
        error = RowError(kind=ErrorKind(kind), message=message, field=field)
    return Outcome(
        answer=decoded,
        value=value,
        error=error,
        attempts=attempts,
        extracted=bool(further and further[0]),
        seconds=further[1] if len(further) > 1 else None,
    )


def checksum(index: int, digest: int, body: bytes) -> int:
    """What tells whether a body is the one written, and for this row and prompt."""
    # Both reach every bit of the start, and neither can make up for the other.
    start = index * 0x9E37_79B1 + digest % 0xFFFF_FFFB
    return zlib.crc32(body, start & _MASK)


def _answer(answer: Answer) -> tuple[Any, ...]:
    usage, logprobs = answer.usage, answer.logprobs
    return (
        answer.text,
        answer.finish_reason,
        None
        if usage is None
        else (usage.input_tokens, usage.output_tokens, usage.cached_tokens),
        answer.model,
        answer.reasoning,
        answer.refusal,
        None
        if logprobs is None
        else [(entry.token, entry.logprob, entry.alternatives) for entry in logprobs],
    )


def _decoded_answer(fields: list[Any]) -> Answer:
    text, finish_reason, usage, model, reasoning, refusal, logprobs = fields
    return Answer(
        text=text,
        finish_reason=finish_reason,
        usage=None
        if usage is None
        else Usage(
            input_tokens=usage[0], output_tokens=usage[1], cached_tokens=usage[2]
        ),
        model=model,
        reasoning=reasoning,
        refusal=refusal,
        logprobs=None
        if logprobs is None
        else tuple(_decoded_logprob(entry) for entry in logprobs),
    )


def _decoded_logprob(fields: list[Any]) -> TokenLogprob:
    token, logprob, alternatives = fields
    others = tuple((other, _logarithm(number)) for other, number in alternatives)
    return TokenLogprob(token=token, logprob=_logarithm(logprob), alternatives=others)


def _logarithm(number: float | None) -> float:
    # JSON has no infinities: the logarithm of nothing was written as null.
    return -math.inf if number is None else number


def _value(value: Any, text: str | None) -> bool | str:
    """`True` when the answer's text stands for the value, else the value as JSON."""
    try:
        encoded = orjson.dumps(value, option=_ONLY_JSON)
    except orjson.JSONEncodeError:
        # It reads four times as deep as it writes.
        if text is not None and _plain(orjson.loads(text)) == _plain(value):
            return True
        raise
    if text is None:
        return encoded.decode()
    if encoded == text.encode():
        return True
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError:
        return encoded.decode()
    return orjson.dumps(parsed) == encoded or encoded.decode()


def _plain(value: Any) -> bytes:
    # Version 0 knows no references, so that equal values make equal bytes.
    return marshal.dumps(value, 0)
