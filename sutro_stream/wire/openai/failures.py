"""An endpoint's error replies, mapped once to the errors of this package."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sutro_stream.errors import (
    AuthenticationError,
    BadReplyError,
    EngineError,
    InputTooLongError,
    NotFoundError,
    ProtocolError,
    QuotaError,
    RateLimitedError,
    ServiceError,
)
from sutro_stream.wire.openai.advice import advice
from sutro_stream.wire.openai.completions import ErrorObjectError
from sutro_stream.wire.openai.errors import (
    detail_beside_answer,
    detail_of,
    error_detail,
    shown,
    told,
)
from sutro_stream.wire.retry_after import retry_after_s

_QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
_OVERFLOW_CODES = frozenset(
    {"context_length_exceeded", "exceed_context_size_error", "string_above_max_length"}
)
_OVERFLOW_TEXT = re.compile(
    r"maximum context length|context (?:size|window|length)"
    r"|longer than the (?:maximum )?model|(?:input|prompt) is too long"
    r"|too large to process",  # llama.cpp, of texts to embed, with status 500
    re.IGNORECASE,
)
# The words of OpenAI, vLLM and SGLang, through their versions.
_PROMPT_LENGTH = re.compile(
    r"(\d+) in the messages|messages resulted in (\d+)|(\d+) input tokens"
    r"|(?:prompt|input) \((?:length )?(\d+)|prompt length of (\d+)",
    re.IGNORECASE,
)
_WINDOW_LENGTH = re.compile(
    r"(?:context|model) length (?:is (?:only )?|of )(\d+)"
    r"|(?:context|model) length \((\d+)|batch size: (\d+)",
    re.IGNORECASE,
)


# A refusal (400) that is none: the same may be answered in a while.
_PASSING = re.compile(
    r"overload|\bloading\b|temporar|capacity|(?<!and )try again"
    r"|try again (?:later|in|soon|shortly)|too busy|starting up|warming up",
    re.IGNORECASE,
)
# Statuses by the endpoint's own words for them, as letters in lower case.
_NAMED = {
    400: "badrequest invalidrequest invalidargument contextlengthexceeded",
    401: "authentication unauthorized unauthenticated invalidapikey",
    402: "insufficientquota billing paymentrequired",
    403: "permission permissiondenied forbidden accessdenied",
    404: "notfound modelnotfound",
    413: "requesttoolarge",
    429: "ratelimit ratelimitexceeded toomanyrequests resourceexhausted throttling",
    500: "server internalserver internal api",
    503: "serviceunavailable unavailable",
    504: "timeout gatewaytimeout deadlineexceeded",
    529: "overloaded",
}
_STATUSES = {word: status for status, words in _NAMED.items() for word in words.split()}
_ERRORS = range(400, 600)


def failure(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    found: ProtocolError | None = None,
    *,
    endpoint: str,
    prompt: str,
    secrets: Sequence[str] = (),
) -> EngineError:
    """The error that a reply without an answer stands for.

    With a status of success it is that of the status that its error object names;
    else it counts as a 502.

    Args:
        status: Of the reply.
        headers: Its fields, their names in lower case.
        body: Its body.
        found: What is wrong with a reply of success, `None` for any other.
        endpoint: How messages call the endpoint.
        prompt: The prompt sent, to keep it out of messages that quote it.
        secrets: What else is kept out of them, a key among it.
    """
    named: int | None = status
    if found is None:
        detail = error_detail(body)
    elif isinstance(found, ErrorObjectError):
        detail = detail_of(found.told)
    else:
        detail = detail_beside_answer(body)
    if found is not None:
        named = named_status(detail)
    return error_for(
        detail,
        status=named or 502,
        endpoint=endpoint,
        prompt=prompt,
        secrets=secrets,
        retry_after_s=retry_after_s(headers.get("retry-after")),
        carrier=None if found is None else status,
        reason=None if named is not None else str(found),
    )


def error_for(
    detail: dict[str, Any],
    *,
    status: int,
    endpoint: str,
    prompt: str,
    secrets: Sequence[str] = (),
    retry_after_s: float | None = None,
    carrier: int | None = None,
    reason: str | None = None,
) -> EngineError:
    """The error for an endpoint's own error object.

    Args:
        detail: The object.
        status: That of the reply, or the one that the object names.
        endpoint: As for `failure`.
        prompt: As for `failure`.
        secrets: As for `failure`.
        retry_after_s: What the reply asks to wait.
        carrier: Status of the reply where it is of success, else `None`.
        reason: What is wrong with a reply that names no status, else `None`.
    """
    code, text = _code(detail), told(detail)
    words = shown(text, prompt=prompt, secrets=secrets)
    words = words or reason or shown(code or "", prompt=prompt, secrets=secrets)
    words = f": {words}" if words else ""
    if status in {400, 413, 422, 500, 502} and _is_overflow(detail, code, text):
        return _too_long(detail, text, words)
    kind, then = _kind(status, code)
    retryable = None
    if status in {400, 422}:
        retryable = True if _PASSING.search(text) else None
        then = then or advice(text, param=detail.get("param"))
    says = f"HTTP {status}" if carrier is None else f"HTTP {carrier}, error {status}"
    says = f"answered {says}"
    if status == 401:
        says = "refused the API key (HTTP 401)"
    if reason is not None and kind is ServiceError:
        kind, says = BadReplyError, f"answered HTTP {carrier} without an answer"
    return kind(
        f"{endpoint} {says}{words}{then}",
        status=status,
        code=code,
        retry_after_s=retry_after_s,
        retryable=retryable,
    )


def _kind(status: int, code: str | None) -> tuple[type[ServiceError], str]:
    """The kind of an error, and what to do about it."""
    if status in {401, 403}:
        return AuthenticationError, (
            "; check that the API key is set, valid and allowed to use this model"
        )
    if status == 402 or code in _QUOTA_CODES:
        return QuotaError, "; the account's quota is used up"
    if status == 404:
        return NotFoundError, (
            "; check the base URL (it usually ends in /v1) and the model's name"
        )
    if 300 <= status < 400:
        return ServiceError, "; the address has moved: give the one it leads to"
    return (RateLimitedError if status == 429 else ServiceError), ""


def named_status(detail: dict[str, Any]) -> int | None:
    """The HTTP status that an error object names, `None` where it names none."""
    for name in ("status", "status_code", "statusCode", "code", "type"):
        value = detail.get(name)
        if isinstance(value, str):
            letters = "".join(filter(str.isalpha, value)).lower()
            word = letters.removesuffix("exception").removesuffix("error")
            if word in _STATUSES:
                return _STATUSES[word]
            value = int(value) if value.strip().isdecimal() else None
        if isinstance(value, (int, float)) and value in _ERRORS:
            return int(value)
    return None


def _code(detail: dict[str, Any]) -> str | None:
    for name in ("code", "type"):
        value = detail.get(name)
        if isinstance(value, str) and value:
            return value
    return None


def _is_overflow(detail: dict[str, Any], code: str | None, text: str) -> bool:
    if code in _OVERFLOW_CODES or detail.get("type") in _OVERFLOW_CODES:
        return True
    return _OVERFLOW_TEXT.search(text) is not None


def _too_long(detail: dict[str, Any], text: str, words: str) -> InputTooLongError:
    prompt_tokens, context_tokens = _lengths(detail, text)
    if isinstance(prompt_tokens, int) and isinstance(context_tokens, int):
        return InputTooLongError(
            f"the prompt has {prompt_tokens:,} tokens and the model's context "
            f"window {context_tokens:,}{words}",
            prompt_tokens=prompt_tokens,
            context_tokens=context_tokens,
        )
    return InputTooLongError(
        f"the prompt does not fit the model's context window{words}"
    )


def _lengths(detail: dict[str, Any], text: str) -> tuple[Any, Any]:
    """Tokens of prompt and window, as fields (llama.cpp) or in words (the others)."""
    if "n_prompt_tokens" in detail:
        return detail["n_prompt_tokens"], detail.get("n_ctx")
    prompt, window = _PROMPT_LENGTH.search(text), _WINDOW_LENGTH.search(text)
    return _first_number(prompt), _first_number(window)


def _first_number(match: re.Match[str] | None) -> int | None:
    if match is None:
        return None
    return next(int(digits) for digits in match.groups() if digits is not None)
