"""Scripts of an endpoint in trouble, asked without a server."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sutro_stream.errors import ConfigurationError
from sutro_stream.testing import (
    ChatRequest,
    Reply,
    Script,
    always,
    congested,
    echo,
    fail_share,
    rate_steps,
    slow_share,
    when,
)

FAILURE = Reply(status=500)
PROMPTS = [f"prompt {number}" for number in range(4000)]


def chat_request(
    prompt: str = "hello", *, attempt: int = 1, in_flight: int = 1
) -> ChatRequest:
    """A request as the server would hand it to a script."""
    return ChatRequest(
        sequence=0,
        attempt=attempt,
        prompt=prompt,
        system_prompt=None,
        body={"model": "any", "messages": [{"role": "user", "content": prompt}]},
        headers={},
        arrived_s=0.0,
        in_flight=in_flight,
    )


def test_a_share_of_requests_fails() -> None:
    """Always the same ones, in any order, and not all their attempts."""
    script = fail_share(0.05, FAILURE, seed=3)
    failing = [prompt for prompt in PROMPTS if script(chat_request(prompt))]
    assert 0.04 < len(failing) / len(PROMPTS) < 0.06
    assert failing == [p for p in PROMPTS if script(chat_request(p)) is FAILURE]
    again = [prompt for prompt in failing if script(chat_request(prompt, attempt=2))]
    assert len(again) < len(failing) / 4


def test_a_share_of_answers_is_slow() -> None:
    """Others than those that fail; their latency is all there is."""
    script = slow_share(always(Reply(latency_s=0.1)), 0.05, 8.0, seed=3)
    replies = {prompt: script(chat_request(prompt)) for prompt in PROMPTS}
    latencies = {p: reply.latency_s for p, reply in replies.items() if reply}
    slow = {prompt for prompt, latency_s in latencies.items() if latency_s == 8.0}
    assert 0.04 < len(slow) / len(PROMPTS) < 0.06
    assert set(latencies.values()) == {0.1, 8.0}
    failing = fail_share(0.05, FAILURE, seed=3)
    assert not slow <= {prompt for prompt in PROMPTS if failing(chat_request(prompt))}


def test_what_a_script_leaves_is_left() -> None:
    """Nothing can be slow about it."""
    left = when(lambda _: False, FAILURE)
    assert slow_share(left, 1.0, 8.0)(chat_request()) is None
    assert congested(left, best_in_flight=4, latency_s=1.0)(chat_request()) is None


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_is_from_nothing_to_all(share: float) -> None:
    """Anything else is a mistake."""
    with pytest.raises(ConfigurationError, match="from 0 to 1"):
        fail_share(share, FAILURE)
    with pytest.raises(ConfigurationError, match="from 0 to 1"):
        slow_share(echo(), share, 1.0)


def test_the_rate_changes_with_time_since_the_first_request() -> None:
    """Ten a second, then two a second."""
    now_s = 100.0

    def let_through(script: Script, seconds: float) -> int:
        nonlocal now_s
        count = 0
        for _ in range(int(seconds * 100)):
            count += script(chat_request()) is None
            now_s += 0.01
        return count

    script = rate_steps([(0, 10), (5, 2)], retry_after_s=1, clock=lambda: now_s)
    assert let_through(script, 5) == pytest.approx(50, abs=2)
    assert let_through(script, 5) == pytest.approx(10, abs=2)
    replies = [script(chat_request()) for _ in range(2)]
    refused = replies[-1]
    assert refused is not None
    assert (refused.status, refused.retry_after) == (429, 1)


@pytest.mark.parametrize(
    "steps", [[], [(1, 10)], [(0, 10), (5, 2), (3, 4)], [(0, 10), (0, 2)], [(0, 0)]]
)
def test_steps_of_a_rate_are_in_order(steps: list[tuple[float, float]]) -> None:
    """From the first request on, and every rate above nothing."""
    with pytest.raises(ConfigurationError):
        rate_steps(steps)


def throughput(decide: Callable[[ChatRequest], Reply | None], in_flight: int) -> float:
    """Answers a second with so many always in flight."""
    reply = decide(chat_request(in_flight=in_flight))
    assert reply is not None
    return in_flight / reply.latency_s


def test_throughput_peaks_and_falls_beyond() -> None:
    """It grows with the requests in flight up to the best number."""
    script = congested(echo(), best_in_flight=64, latency_s=0.1)
    rates = {count: throughput(script, count) for count in (16, 32, 64, 128, 256)}
    assert rates[16] < rates[32] < rates[64] > rates[128] > rates[256]
    assert rates[64] == pytest.approx(640)
    assert rates[256] == pytest.approx(320)


def test_congestion_needs_sensible_numbers() -> None:
    """Nothing is best with no request in flight."""
    with pytest.raises(ConfigurationError, match="at least 1"):
        congested(echo(), best_in_flight=0, latency_s=0.1)
