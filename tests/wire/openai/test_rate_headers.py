"""Rate limits as endpoints tell them in their headers."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from sutro_stream.engines.chat import ChatEngine
from sutro_stream.errors import RateLimitedError
from sutro_stream.testing import (
    Reply,
    ScriptedChatServer,
    always,
    fail_every,
    first_of,
)
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.rate_hints import RateHint
from sutro_stream.wire.openai.rate_headers import parse_rate_hint

NOW_S = 1_767_225_600.0  # 2026-01-01T00:00:00Z


def test_the_headers_of_openai() -> None:
    """Requests and tokens, times as durations, names in any case."""
    headers = CIMultiDict(
        {
            "X-RateLimit-Limit-Requests": "60",
            "x-ratelimit-remaining-requests": "59",
            "x-ratelimit-reset-requests": "1s",
            "x-ratelimit-limit-tokens": "150000",
            "x-ratelimit-remaining-tokens": "149984",
            "x-ratelimit-reset-tokens": "6m0s",
        }
    )
    assert parse_rate_hint(headers) == RateHint(
        limit_requests=60,
        remaining_requests=59,
        reset_requests_s=1.0,
        limit_tokens=150_000,
        remaining_tokens=149_984,
        reset_tokens_s=360.0,
    )


def test_the_headers_of_anthropic() -> None:
    """Times are moments."""
    headers = {
        "anthropic-ratelimit-requests-limit": "1000",
        "anthropic-ratelimit-requests-remaining": "998",
        "anthropic-ratelimit-requests-reset": "2026-01-01T00:00:12Z",
        "anthropic-ratelimit-tokens-limit": "80000",
        "anthropic-ratelimit-tokens-remaining": "70000",
        "anthropic-ratelimit-tokens-reset": "2025-12-31T23:59:00Z",
    }
    assert parse_rate_hint(headers, now_s=NOW_S) == RateHint(
        limit_requests=1000,
        remaining_requests=998,
        reset_requests_s=12.0,
        limit_tokens=80_000,
        remaining_tokens=70_000,
        reset_tokens_s=0.0,
    )


@pytest.mark.parametrize("prefix", ["x-ratelimit-", "ratelimit-"])
@pytest.mark.parametrize(
    ("reset", "seconds"),
    [("30", 30.0), (f"{NOW_S + 30:.0f}", 30.0), (f"{(NOW_S + 30) * 1e3:.0f}", 30.0)],
)
def test_the_plain_headers(prefix: str, reset: str, seconds: float) -> None:
    """The reset is a time, or a moment in seconds or milliseconds."""
    headers = {
        f"{prefix}limit": "100, 100;w=60",
        f"{prefix}remaining": "7",
        f"{prefix}reset": reset,
    }
    assert parse_rate_hint(headers, now_s=NOW_S) == RateHint(
        limit_requests=100,
        remaining_requests=7,
        reset_requests_s=seconds,
        refills=False,
    )


def test_the_draft_standard() -> None:
    """Two structured fields."""
    headers = {
        "ratelimit": '"default";r=50;t=30',
        "ratelimit-policy": '"default";q=100;w=60',
    }
    assert parse_rate_hint(headers) == RateHint(
        limit_requests=100,
        remaining_requests=50,
        reset_requests_s=30.0,
        refills=False,
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1.0),
        ("20ms", 0.02),
        ("6m0s", 360.0),
        ("1h2m3.5s", 3723.5),
        ("1d", 86_400.0),
        ("2m59.56s", 179.56),
        ("0.25", 0.25),
        ("0s", 0.0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    """In the ways they are met."""
    headers = {
        "x-ratelimit-remaining-requests": "1",
        "x-ratelimit-reset-requests": text,
    }
    hint = parse_rate_hint(headers)
    assert hint is not None
    assert hint.reset_requests_s == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "soon", "1x", "s", "-1", "nan", "1s later", "inf"]
)
def test_what_cannot_be_read_counts_as_not_said(text: str) -> None:
    """A field alone, or the whole hint when it is the one that matters."""
    reset = {"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": text}
    hint = parse_rate_hint(reset)
    assert hint is not None
    assert hint.reset_tokens_s is None
    assert parse_rate_hint({"x-ratelimit-remaining-requests": text}) is None


@pytest.mark.parametrize(
    "headers",
    [{}, {"content-type": "application/json", "retry-after": "3", "date": "today"}],
)
def test_replies_that_say_nothing_have_no_hint(headers: Mapping[str, str]) -> None:
    """The usual case of one's own server."""
    assert parse_rate_hint(headers) is None


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "x-ratelimit-remaining-requests",
                "x-ratelimit-limit-requests",
                "x-ratelimit-reset-requests",
                "anthropic-ratelimit-tokens-remaining",
                "anthropic-ratelimit-tokens-reset",
                "x-ratelimit-remaining",
                "x-ratelimit-reset",
                "ratelimit",
                "ratelimit-policy",
            ]
        ),
        st.text(alphabet='0123456789.smh-;=rt,TZ:" \u0663', max_size=25),
    )
)
def test_no_header_breaks_it(headers: dict[str, str]) -> None:
    """Whatever an endpoint writes; what is read is never negative."""
    hint = parse_rate_hint(headers, now_s=NOW_S)
    if hint is not None:
        numbers = (hint.remaining_requests, hint.reset_requests_s, hint.limit_requests)
        assert all(number is None or number >= 0 for number in numbers)


async def test_a_chat_engine_passes_them_on_with_answers_and_errors() -> None:
    """An answer is the same with and without."""
    headers = {
        "x-ratelimit-remaining-requests": "7",
        "x-ratelimit-reset-requests": "2s",
    }
    hint = RateHint(remaining_requests=7, reset_requests_s=2.0)
    script = first_of(
        fail_every(2, Reply(status=429, headers=headers)),
        always(Reply(headers=headers)),
    )
    async with (
        ScriptedChatServer(script) as server,
        ChatEngine(server.base_url, "m") as engine,
    ):
        responder = engine.bind(Instructions())
        answer = await responder.answer("one")
        assert answer.rate_hint == hint
        assert answer == replace(answer, rate_hint=None)
        with pytest.raises(RateLimitedError) as caught:
            await responder.answer("two")
        assert caught.value.rate_hint == hint
