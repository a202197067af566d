"""Scripts and distributions, asked without a server."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import median

import pytest

from sutro_stream.errors import ConfigurationError
from sutro_stream.testing import (
    ChatRequest,
    Constant,
    LogNormal,
    Reply,
    Script,
    SlowBody,
    Uniform,
    always,
    constant,
    echo,
    fail_every,
    fail_first_attempts,
    first_of,
    rate_limited,
    when,
    with_latency,
)
from sutro_stream.testing.chat_server.requests import AttemptCounter

FAILURE = Reply(status=503)


def chat_request(
    prompt: str = "hello", *, sequence: int = 0, attempt: int = 1
) -> ChatRequest:
    """A request as the server would hand it to a script."""
    return ChatRequest(
        sequence=sequence,
        attempt=attempt,
        prompt=prompt,
        system_prompt=None,
        body={"model": "any", "messages": [{"role": "user", "content": prompt}]},
        headers={},
        arrived_s=0.0,
    )


def latencies_s(script: Script, *, count: int) -> list[float]:
    """The latencies that a script gives the first requests."""
    replies = [script(chat_request(sequence=number)) for number in range(count)]
    return [reply.latency_s for reply in replies if reply is not None]


def test_fail_every_hits_each_nth() -> None:
    """Of six requests, the third and the sixth fail."""
    script = fail_every(3, FAILURE)
    hits = [script(chat_request(sequence=number)) is FAILURE for number in range(6)]
    assert hits == [False, False, True, False, False, True]


def test_fail_first_attempts_spares_later_ones() -> None:
    """The first two attempts of a prompt fail, the third does not."""
    script = fail_first_attempts(2, FAILURE)
    hits = [script(chat_request(attempt=number)) is FAILURE for number in (1, 2, 3)]
    assert hits == [True, True, False]


def test_first_of_takes_the_first_reply() -> None:
    """Scripts are asked in turn until one has a reply."""
    script = first_of(when(lambda seen: seen.prompt == "bad", FAILURE), constant("ok"))
    assert script(chat_request("bad")) is FAILURE
    reply = script(chat_request("good"))
    assert reply is not None
    assert reply.text == "ok"


def test_first_of_leaves_what_all_leave() -> None:
    """Where no script has a reply, the combination has none either."""
    assert first_of(fail_every(2, FAILURE))(chat_request()) is None


def test_rate_limited_refuses_the_excess() -> None:
    """A bucket of two lets two through, then one for each interval."""
    now_s = 0.0
    script = rate_limited(10, retry_after_s=0.1, burst=2, clock=lambda: now_s)
    assert [script(chat_request()) is None for _ in range(3)] == [True, True, False]
    now_s = 0.1
    assert [script(chat_request()) is None for _ in range(2)] == [True, False]
    refusal = script(chat_request())
    assert refusal is not None
    assert (refusal.status, refusal.retry_after) == (429, 0.1)


def test_with_latency_is_reproducible() -> None:
    """The same seed draws the same latencies, another seed draws others."""
    distribution = Uniform(low_s=0.1, high_s=0.2)
    drawn = [
        latencies_s(with_latency(echo(), distribution, seed=seed), count=20)
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]
    assert all(0.1 < latency_s < 0.2 for latency_s in drawn[0])


def test_with_latency_by_prompt_ignores_the_order() -> None:
    """Drawn by prompt, the latency does not depend on when the prompt arrives."""
    script = with_latency(echo(), Uniform(low_s=0, high_s=1), by="prompt")
    early, late = script(chat_request(sequence=1)), script(chat_request(sequence=9))
    other = script(chat_request("other"))
    assert early == late != other


def test_with_latency_adds_to_the_reply() -> None:
    """A latency the script has already given is kept."""
    script = with_latency(always(Reply(latency_s=1.0)), Constant(seconds=0.5))
    assert latencies_s(script, count=1) == [1.5]


def test_log_normal_has_the_quantiles_given() -> None:
    """Median and 99th percentile come out as given, and the cap holds."""
    distribution = LogNormal(median_s=0.1, p99_s=1.0, cap_s=2.0)
    assert math.isclose(distribution.quantile_s(0.5), 0.1)
    assert math.isclose(distribution.quantile_s(0.99), 1.0)
    assert distribution.quantile_s(0.999999) == 2.0
    drawn = latencies_s(with_latency(echo(), distribution), count=2000)
    assert 0.09 < median(drawn) < 0.11


@pytest.mark.parametrize(
    "build",
    [
        lambda: Reply(latency_s=-1),
        lambda: Reply(status=99),
        lambda: Reply(headers={"X-Evil": "a\r\nb"}),
        lambda: SlowBody(duration_s=1, pieces=0),
        lambda: LogNormal(median_s=0, p99_s=1),
        lambda: fail_every(0, FAILURE),
        lambda: rate_limited(0),
    ],
    ids=range(7),
)
def test_refuses_settings_without_sense(build: Callable[[], object]) -> None:
    """A value that cannot be meant is refused where it is made."""
    with pytest.raises(ConfigurationError):
        build()


def test_attempts_are_counted_per_prompt() -> None:
    """Each prompt has its own count, starting at 1."""
    attempts = AttemptCounter()
    assert [attempts.count(prompt) for prompt in ("a", "a", "b", "a")] == [1, 2, 1, 3]


def test_attempts_of_old_prompts_are_forgotten() -> None:
    """The counter remembers the newest prompts and lets go of older ones."""
    attempts = AttemptCounter(generation_prompts=2)
    attempts.count("old")
    for prompt in ("a", "b", "c"):
        attempts.count(prompt)
    assert attempts.count("c") == 2
    assert attempts.count("old") == 1


def test_a_constant_latency_follows_the_script() -> None:
    """Each reply of the script keeps its own content under the same latency."""
    script = first_of(fail_every(2, Reply(status=503, latency_s=1.0)), constant("ok"))
    delayed = with_latency(script, Constant(seconds=0.5))
    replies = [delayed(chat_request(sequence=number)) for number in (0, 0, 1, 2)]
    seen = [(reply.status, reply.latency_s) for reply in replies if reply is not None]
    assert seen == [(200, 0.5), (200, 0.5), (503, 1.5), (200, 0.5)]
