"""Chat completion replies, as endpoints send them and as they should not."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutro_stream.errors import ProtocolError
from sutro_stream.values.outcomes import Answer, TokenLogprob, Usage
from sutro_stream.wire.openai.completions import parse_completion, parse_events

_COUNTED = ("prompt", "completion")
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_SCALAR = st.none() | st.booleans() | st.integers(0, 9) | st.just(2.5) | _TEXT
_ANY = st.recursive(
    _SCALAR, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_TEXT, inner)
)


def _object(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """An object that may lack any of its fields, or be something else."""
    return st.fixed_dictionaries({}, optional=fields) | _SCALAR


_DETAILS = _object(cached_tokens=_SCALAR)
_COMPLETION = _object(
    id=_ANY,
    model=_SCALAR,
    choices=st.lists(
        _object(
            message=_object(
                content=_TEXT | _SCALAR,
                reasoning_content=_SCALAR,
                reasoning=_SCALAR,
                refusal=_SCALAR,
            ),
            finish_reason=st.just("stop") | _SCALAR,
            extra=_ANY,
        ),
        max_size=2,
    ),
    usage=_object(
        prompt_tokens=_SCALAR, completion_tokens=_SCALAR, prompt_tokens_details=_DETAILS
    ),
)


def _completion(**fields: Any) -> bytes:
    choice: dict[str, Any] = {"message": {"content": "Hi"}, "finish_reason": "stop"}
    return orjson.dumps({"model": "m", "choices": [choice], **fields})


def test_every_field_of_a_usual_reply_is_read() -> None:
    """Text, thinking, tokens and model."""
    body = orjson.dumps(
        {
            "id": "1",
            "model": "m",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "Hi", "reasoning": "R"},
                    "finish_reason": "length",
                }
            ],
            "usage": {
                "prompt_tokens": 3,
                "completion_tokens": 2,
                "prompt_tokens_details": {"cached_tokens": 1},
            },
        }
    )
    assert parse_completion(body) == Answer(
        text="Hi",
        finish_reason="length",
        usage=Usage(input_tokens=3, output_tokens=2, cached_tokens=1),
        model="m",
        reasoning="R",
    )


@given(_COMPLETION)
def test_types_that_nobody_expects_are_taken_leniently(reply: Any) -> None:
    """Where they mean nothing they count as not said; only text must be text."""
    body = orjson.dumps(reply)
    try:
        whole: Answer | None = parse_completion(body)
    except ProtocolError:
        whole = None
    assert whole == _read_by_hand(reply)


def _read_by_hand(reply: Any) -> Answer | None:
    """What a reply means, `None` for one that is no completion."""
    try:
        choice = reply["choices"][0]
        message = choice["message"]
        text = message.get("content")
        thought = message.get("reasoning_content") or message.get("reasoning")
        refusal = message.get("refusal")
        finish_reason = choice.get("finish_reason")
        usage, model = reply.get("usage"), reply.get("model")
    except (LookupError, TypeError, AttributeError):
        return None
    if not isinstance(text, str | None):
        return None
    counted = None
    if isinstance(usage, dict):
        details = usage.get("prompt_tokens_details")
        cached = details.get("cached_tokens") if isinstance(details, dict) else 0
        read, written = map(_tokens, (usage.get(f"{x}_tokens") for x in _COUNTED))
        if read is not None or written is not None:
            counted = Usage(
                input_tokens=read or 0,
                output_tokens=written or 0,
                cached_tokens=_tokens(cached) or 0,
            )
    return Answer(
        text=text or "",
        finish_reason=_text(finish_reason) or None,
        usage=counted,
        model=_text(model) or None,
        reasoning=_text(thought) or None,
        refusal=_text(refusal) or None,
    )


def _tokens(value: Any) -> int | None:
    if isinstance(value, str):
        return int(value) if value.strip().isdecimal() else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def test_token_probabilities_are_read() -> None:
    """Each with its alternatives."""
    entry = {"token": "a", "logprob": -0.5, "top_logprobs": [{"token": "b", "prob": 1}]}
    choice = {"message": {"content": "a"}, "logprobs": {"content": [entry]}}
    answer = parse_completion(orjson.dumps({"choices": [choice]}))
    expected = TokenLogprob(token="a", logprob=-0.5, alternatives=(("b", 0.0),))
    assert answer.logprobs == (expected,)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b'{"choices": []}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [{"message": {"content": "a"}}]',
        b'{"choices": [{"message": {"content": "a"}}]} more',
    ],
)
def test_what_is_no_completion_is_a_protocol_error(body: bytes) -> None:
    """Never an error of a decoder, nor text that cannot be written again."""
    with pytest.raises(ProtocolError):
        parse_completion(body)


@pytest.mark.parametrize("place", ["extra", "usage", "choices"])
def test_deep_nesting_is_a_protocol_error(place: str) -> None:
    """Whoever sends it does not end the run."""
    deep = b"[" * 200_000 + b"]" * 200_000
    body = _completion()[:-1] + b',"%b":%b}' % (place.encode(), deep)
    with pytest.raises(ProtocolError):
        parse_completion(body)


def test_a_stream_that_was_not_streamed_is_read() -> None:
    """Endpoints that ignore `stream` send the whole reply."""
    assert parse_events(_completion()) == parse_completion(_completion())
