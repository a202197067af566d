"""What an answer, or an engine's error, means for a row: decided here alone."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal, TypeAlias

from sutro_stream.errors import (
    BadReplyError,
    EngineError,
    InputTooLongError,
    ProtocolError,
    RateLimitedError,
    RequestTimeoutError,
    ServiceError,
    TransportError,
    UnreadableInputError,
)
from sutro_stream.flow.retry import is_retryable
from sutro_stream.pipeline.extraction import extracted
from sutro_stream.values.outcomes import Answer, ErrorKind, Outcome, RowError
from sutro_stream.values.schema import OutputSchema

Answers: TypeAlias = Literal["strict", "extract"]
"""Which texts count under a schema: JSON alone, or also what has JSON in it."""

TRUNCATED = RowError(
    kind=ErrorKind.TRUNCATED,
    message="the answer was cut off at the token limit; allow more max_tokens",
)
"""Why an answer that is cut off does not count."""

_FILTERED = RowError(
    kind=ErrorKind.FILTERED, message="the endpoint withheld the answer"
)
_NO_TEXT = RowError(
    kind=ErrorKind.NO_ANSWER, message="the model ended without writing anything"
)
_ONLY_THOUGHT = RowError(
    kind=ErrorKind.NO_ANSWER, message="the model thought, and wrote no answer"
)
_ONLY_CALLS = RowError(
    kind=ErrorKind.NO_ANSWER, message="the model called a tool instead of answering"
)
# Every provider has words of its own for them; Gemini joins several into one.
_WITHHOLDING = re.compile(
    r"filter|safety|recitation|prohibited|block|spii|refus|guardrail|sensitive"
    r"|moderat|language",
    re.IGNORECASE,
)
_BREAKING = re.compile(
    r"error|abort|fail|cancel|malformed|unexpected|insufficient", re.IGNORECASE
)
_CALLING = re.compile(r"tool|function", re.IGNORECASE)
_SHOWN_CHARACTERS = 40
_EXTRACTION_HELPS = (
    '; --answers extract (answers="extract") takes the JSON out of the text'
)
_REASKING_HELPS = "; --reask 1 (reask=1) asks again, and says so"


def validate(
    answer: Answer,
    schema: OutputSchema | None,
    *,
    attempts: int,
    answers: Answers = "strict",
) -> Outcome:
    """Whether an answer is one: complete, not withheld, and of the right form.

    The answer itself is kept unchanged in any case.

    Args:
        answer: What an engine said.
        schema: What it must conform to, `None` for any text.
        attempts: Requests sent for it.
        answers: Whether the JSON in a text counts that is not JSON as a whole.
    """
    value, error = None, None
    reason, text = answer.finish_reason, answer.text
    if reason is not None and reason != "stop":
        error = _verdict(reason)
    if answer.refusal is not None:
        error = _FILTERED
    if error is None and (not text or text.isspace()):
        error = _nothing(answer)
    if error is None and schema is not None:
        value, error = _conforming(answer, schema)
        if answers == "extract" and error is not None and not answer.is_cut:
            value = extracted(text, schema)
            if value is not None:
                return Outcome(
                    answer=answer, value=value, attempts=attempts, extracted=True
                )
    return Outcome(answer=answer, value=value, error=error, attempts=attempts)


def with_advice(
    outcome: Outcome, schema: OutputSchema, *, answers: Answers, reasks: bool
) -> Outcome:
    """A row that failed by its answer's form, with the option that would have helped.

    Args:
        outcome: As `validate` made it.
        schema: What the answer does not conform to.
        answers: As `validate` was given it.
        reasks: Whether it was asked again already.
    """
    answer, error = outcome.answer, outcome.error
    if answer is None or error is None or error.kind is not ErrorKind.INVALID_OUTPUT:
        return outcome
    if answers == "strict" and extracted(answer.text, schema) is not None:
        advice = _EXTRACTION_HELPS
    elif not reasks:
        advice = _REASKING_HELPS
    else:
        return outcome
    return replace(outcome, error=replace(error, message=f"{error.message}{advice}"))


@lru_cache(maxsize=64)
def _verdict(reason: str) -> RowError | None:
    """What a finish reason alone says of an answer."""
    if _WITHHOLDING.search(reason):
        return _FILTERED
    if not _BREAKING.search(reason):
        return None
    shown = reason if reason.isprintable() else ""
    return RowError(
        kind=ErrorKind.PROVIDER_ERROR,
        message="the model ended in an error instead of an answer (finish reason "
        f"{shown[:_SHOWN_CHARACTERS]!r})",
    )


def _nothing(answer: Answer) -> RowError:
    """Why there is no text."""
    if answer.is_cut:
        return TRUNCATED
    if _CALLING.search(answer.finish_reason or ""):
        return _ONLY_CALLS
    return _NO_TEXT if answer.reasoning is None else _ONLY_THOUGHT


def _conforming(answer: Answer, schema: OutputSchema) -> tuple[Any, RowError | None]:
    value, reason, field = schema.check(answer.text)
    # A number or a word may be cut and still be valid; brackets cannot.
    if answer.is_cut and not isinstance(value, (dict, list)):
        return None, TRUNCATED
    if reason is not None:
        kind = ErrorKind.INVALID_OUTPUT
        return None, RowError(kind=kind, message=reason, field=field)
    return value, None


def error_kind(error: EngineError) -> ErrorKind:
    """How a row's failure is called in results."""
    if isinstance(error, InputTooLongError):
        return ErrorKind.INPUT_TOO_LONG
    if isinstance(error, UnreadableInputError):
        return ErrorKind.WRONG_TYPE
    if isinstance(error, (ProtocolError, BadReplyError)):
        return ErrorKind.BAD_REPLY
    if isinstance(error, RequestTimeoutError):
        return ErrorKind.TIMEOUT
    if isinstance(error, TransportError):
        return ErrorKind.UNREACHABLE
    if isinstance(error, RateLimitedError):
        return ErrorKind.RATE_LIMITED
    if isinstance(error, ServiceError) and not is_retryable(error):
        return ErrorKind.REJECTED
    return ErrorKind.SERVER_ERROR
