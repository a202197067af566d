"""What can be told of each answer in columns of its own, where it is wanted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import pyarrow as pa

from sutro_stream.errors import ConfigurationError
from sutro_stream.values.outcomes import Answer, Outcome, Usage

Detail: TypeAlias = Literal[
    "usage",
    "finish_reason",
    "model",
    "attempts",
    "seconds",
    "logprob",
    "extracted",
    "reasoning",
]
"""`usage` is three columns: `input_tokens`, `output_tokens`, `cached_tokens`; `seconds`
is the time of the attempt that was answered; `logprob` the sum over an answer's tokens,
where the sampling parameters ask for them; all others are named as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailColumn:
    """One column of a detail.

    Attributes:
        field: Its name and type.
        read: The cell of an outcome, `None` where it is not known.
    """

    field: pa.Field
    read: Callable[[Outcome], Any]


def detail_columns(details: Sequence[str]) -> tuple[DetailColumn, ...]:
    """The columns of details, in their order.

    Raises:
        ConfigurationError: One is not known, or given twice.
    """
    for name in details:
        if name not in _COLUMNS:
            known = ", ".join(get_args(Detail))
            raise ConfigurationError(f"{name!r} is no detail; there are {known}")
        if list(details).count(name) > 1:
            raise ConfigurationError(f"the detail {name!r} is given twice")
    return tuple(column for name in details for column in _COLUMNS[name])


def _of_answer(name: str, kind: pa.DataType, read: Callable[[Answer], Any]) -> Any:
    return DetailColumn(
        field=pa.field(name, kind),
        read=lambda outcome: None if outcome.answer is None else read(outcome.answer),
    )


def _of_usage(name: str, read: Callable[[Usage], int]) -> DetailColumn:
    column: DetailColumn = _of_answer(
        name,
        pa.int64(),
        lambda answer: None if answer.usage is None else read(answer.usage),
    )
    return column


def _logprob(answer: Answer) -> float | None:
    if answer.logprobs is None:
        return None
    return math.fsum(token.logprob for token in answer.logprobs)


_TEXT = pa.string()
_COLUMNS: Mapping[str, Sequence[DetailColumn]] = {
    "usage": (
        _of_usage("input_tokens", lambda usage: usage.input_tokens),
        _of_usage("output_tokens", lambda usage: usage.output_tokens),
        _of_usage("cached_tokens", lambda usage: usage.cached_tokens),
    ),
    "finish_reason": [
        _of_answer("finish_reason", _TEXT, lambda answer: answer.finish_reason)
    ],
    "model": [_of_answer("model", _TEXT, lambda answer: answer.model)],
    "attempts": [
        DetailColumn(
            field=pa.field("attempts", pa.int64()), read=lambda row: row.attempts
        )
    ],
    "seconds": [
        DetailColumn(
            field=pa.field("seconds", pa.float64()),
            read=lambda row: None if row.seconds is None else round(row.seconds, 6),
        )
    ],
    "logprob": [_of_answer("logprob", pa.float64(), _logprob)],
    "extracted": [
        DetailColumn(
            field=pa.field("extracted", pa.bool_()), read=lambda row: row.extracted
        )
    ],
    "reasoning": [_of_answer("reasoning", _TEXT, lambda answer: answer.reasoning)],
}
