"""What an answer, or an engine's error, means for a row."""

from __future__ import annotations

from typing import Any

from sutro_stream.errors import (
    EngineError,
    InputTooLongError,
    ProtocolError,
    RateLimitedError,
    RequestTimeoutError,
    ServiceError,
    TransportError,
)
from sutro_stream.flow.retry import is_retryable
from sutro_stream.values.outcomes import Answer, ErrorKind, Outcome, RowError
from sutro_stream.values.schema import OutputSchema

TRUNCATED = RowError(
    kind=ErrorKind.TRUNCATED,
    message="the answer was cut off at the token limit; allow more max_tokens",
)
"""Why an answer that is cut off does not count."""


def validate(answer: Answer, schema: OutputSchema | None, *, attempts: int) -> Outcome:
    """Whether an answer is one: complete, not withheld, and of the right form.

    The answer itself is kept unchanged in any case.
    """
    value, error = None, None
    if answer.refusal is not None or answer.finish_reason == "content_filter":
        error = RowError(
            kind=ErrorKind.FILTERED, message="the endpoint withheld the answer"
        )
    elif schema is not None:
        value, error = _conforming(answer, schema)
    elif not answer.text and answer.finish_reason == "length":
        error = TRUNCATED
    return Outcome(answer=answer, value=value, error=error, attempts=attempts)


def _conforming(answer: Answer, schema: OutputSchema) -> tuple[Any, RowError | None]:
    value, reason, field = schema.check(answer.text)
    # A number or a word may be cut and still be valid; brackets cannot.
    cut = answer.finish_reason == "length" and not isinstance(value, (dict, list))
    if cut:
        return None, TRUNCATED
    if reason is not None:
        kind = ErrorKind.INVALID_OUTPUT
        return None, RowError(kind=kind, message=reason, field=field)
    return value, None


def error_kind(error: EngineError) -> ErrorKind:
    """How a row's failure is called in results."""
    if isinstance(error, InputTooLongError):
        return ErrorKind.INPUT_TOO_LONG
    if isinstance(error, ProtocolError):
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
