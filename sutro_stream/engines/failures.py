"""An endpoint's error replies, mapped once to the errors of this package."""

from __future__ import annotations

import re
from typing import Any

import orjson

from sutro_stream.engines.transports.transport import Reply
from sutro_stream.errors import (
    AuthenticationError,
    EngineError,
    InputTooLongError,
    NotFoundError,
    QuotaError,
    RateLimitedError,
    ServiceError,
)
from sutro_stream.flow.retry_after import retry_after_s

_SHOWN_CHARACTERS = 200
_SCANNED_CHARACTERS = 2000
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


def failure(reply: Reply, *, endpoint: str, prompt: str) -> EngineError:
    """The error that a reply with a status other than 200 stands for.

    Args:
        reply: The endpoint's reply.
        endpoint: How messages call it.
        prompt: The prompt sent, to keep it out of messages that quote it.
    """
    detail = error_detail(reply.body)
    return error_for(
        detail,
        status=reply.status,
        endpoint=endpoint,
        prompt=prompt,
        retry_after_s=retry_after_s(reply.headers.get("retry-after")),
    )


def error_for(
    detail: dict[str, Any],
    *,
    status: int,
    endpoint: str,
    prompt: str,
    retry_after_s: float | None = None,
) -> EngineError:
    """The error for an endpoint's own error object."""
    code = _code(detail)
    message = _message(detail, prompt)
    if status in {400, 413, 422, 500} and _is_overflow(detail, code):
        return _too_long(detail)
    if status in {401, 403}:
        return AuthenticationError(
            f"{endpoint} refused the API key (HTTP {status}); "
            "check that it is set, valid and allowed to use this model",
            status=status,
            code=code,
        )
    if status == 402 or code in _QUOTA_CODES:
        return QuotaError(
            f"{endpoint} says that the account's quota is used up (HTTP {status})",
            status=status,
            code=code,
        )
    if status == 404:
        return NotFoundError(
            f"{endpoint} does not know this address or model (HTTP 404{message}); "
            "check the base URL (it usually ends in /v1) and the model's name",
            status=status,
            code=code,
        )
    kind = RateLimitedError if status == 429 else ServiceError
    return kind(
        f"{endpoint} answered HTTP {status}{message}",
        status=status,
        code=code,
        retry_after_s=retry_after_s,
    )


def error_detail(body: bytes) -> dict[str, Any]:
    """The error object inside a reply, `{}` when there is none to be found."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(data, dict):
        return {}
    error = data.get("error", data)
    if isinstance(error, dict):
        return error
    return {"message": error} if isinstance(error, str) else data


def _code(detail: dict[str, Any]) -> str | None:
    for name in ("code", "type"):
        value = detail.get(name)
        if isinstance(value, str) and value:
            return value
    return None


def _message(detail: dict[str, Any], prompt: str) -> str:
    for name in ("message", "detail"):
        text = detail.get(name)
        if isinstance(text, str) and text:
            if _quotes(text, prompt):
                return ""
            return f": {' '.join(text.split())[:_SHOWN_CHARACTERS]}"
    return ""


def _quotes(text: str, prompt: str) -> bool:
    """Whether an endpoint's message repeats a part of the prompt."""
    piece = 16
    text = text[:_SCANNED_CHARACTERS]
    if len(prompt) <= piece:
        return bool(prompt.strip()) and prompt in text
    return any(
        text[start : start + piece] in prompt
        for start in range(max(1, len(text) - piece + 1))
    )


def _is_overflow(detail: dict[str, Any], code: str | None) -> bool:
    if code in _OVERFLOW_CODES or detail.get("type") in _OVERFLOW_CODES:
        return True
    text = detail.get("message")
    return isinstance(text, str) and _OVERFLOW_TEXT.search(text) is not None


def _too_long(detail: dict[str, Any]) -> InputTooLongError:
    prompt_tokens, context_tokens = _lengths(detail)
    if isinstance(prompt_tokens, int) and isinstance(context_tokens, int):
        return InputTooLongError(
            f"the prompt has {prompt_tokens:,} tokens and the model's context "
            f"window {context_tokens:,}",
            prompt_tokens=prompt_tokens,
            context_tokens=context_tokens,
        )
    return InputTooLongError("the prompt does not fit the model's context window")


def _lengths(detail: dict[str, Any]) -> tuple[Any, Any]:
    """Tokens of prompt and window, as fields (llama.cpp) or in words (the others)."""
    if "n_prompt_tokens" in detail:
        return detail["n_prompt_tokens"], detail.get("n_ctx")
    text = detail.get("message")
    if not isinstance(text, str):
        return None, None
    text = text[:_SCANNED_CHARACTERS]
    prompt, window = _PROMPT_LENGTH.search(text), _WINDOW_LENGTH.search(text)
    return _first_number(prompt), _first_number(window)


def _first_number(match: re.Match[str] | None) -> int | None:
    if match is None:
        return None
    return next(int(digits) for digits in match.groups() if digits is not None)
