"""Scripts: who decides how each request is answered."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from sutro_stream.errors import ConfigurationError
from sutro_stream.testing.chat_server.latency import (
    Constant,
    Distribution,
    drawn_share,
)
from sutro_stream.testing.chat_server.replies import Reply
from sutro_stream.testing.chat_server.requests import ChatRequest

Script = Callable[[ChatRequest], Reply | None]
"""Decides the reply to one request; `None` leaves it to the next script, and at
the end to `echo()`. Called on the event loop, so it must not block."""

_ECHO = Reply()


def echo() -> Script:
    """Answer with the prompt, or with a minimal instance of the wanted schema."""
    return lambda _request: _ECHO


def constant(text: str, *, finish_reason: str = "stop") -> Script:
    """Answer every prompt with the same text."""
    reply = Reply(text=text, finish_reason=finish_reason)
    return lambda _request: reply


def always(reply: Reply) -> Script:
    """Give every request the same reply."""
    return lambda _request: reply


def first_of(*scripts: Script) -> Script:
    """Ask the scripts in turn and take the first reply that is not `None`."""

    def decide(request: ChatRequest) -> Reply | None:
        for script in scripts:
            reply = script(request)
            if reply is not None:
                return reply
        return None

    return decide


def when(matches: Callable[[ChatRequest], bool], reply: Reply) -> Script:
    """Give this reply to the requests that match; leave the others."""
    return lambda request: reply if matches(request) else None


def fail_every(n: int, reply: Reply) -> Script:
    """Give this reply to each `n`-th request in order of arrival; leave the others.

    Raises:
        ConfigurationError: `n` is below 1.
    """
    if n < 1:
        message = f"fail_every needs n of at least 1, got {n}"
        raise ConfigurationError(message)
    return when(lambda request: request.sequence % n == n - 1, reply)


def fail_first_attempts(k: int, reply: Reply) -> Script:
    """Give this reply to the first `k` attempts of each prompt; leave the later."""
    return when(lambda request: request.attempt <= k, reply)


def rate_limited(
    per_second: float,
    *,
    retry_after_s: float | None = None,
    burst: int = 1,
    clock: Callable[[], float] = time.monotonic,
) -> Script:
    """Answer 429 to what goes beyond a rate (a token bucket); leave the others.

    Args:
        per_second: Requests let through a second, on average; above 0.
        retry_after_s: `Retry-After` of the refusals, in seconds; `None` for none.
        burst: Requests let through at once after a pause; at least 1.
        clock: Seconds on any steady clock.

    Raises:
        ConfigurationError: `per_second` or `burst` is too small.
    """
    if per_second <= 0 or burst < 1:
        message = "rate_limited needs per_second above 0 and burst of at least 1"
        raise ConfigurationError(message)
    refusal = Reply(status=429, retry_after=retry_after_s)
    tokens, filled_at_s = float(burst), clock()

    def decide(_request: ChatRequest) -> Reply | None:
        nonlocal tokens, filled_at_s
        now_s = clock()
        tokens = min(burst, tokens + (now_s - filled_at_s) * per_second)
        filled_at_s = now_s
        if tokens < 1:
            return refusal
        tokens -= 1
        return None

    return decide


def with_latency(
    script: Script,
    distribution: Distribution,
    *,
    seed: int = 0,
    by: Literal["sequence", "prompt"] = "sequence",
) -> Script:
    """Add a latency, drawn anew for each request, to the script's replies.

    Args:
        script: Decides all else; what it leaves is left.
        distribution: Where latencies are drawn from.
        seed: Another seed draws other latencies; the same one draws the same.
        by: `sequence`: the latency depends on the order of arrival; `prompt`: on
            prompt and attempt, whatever the order.
    """
    if isinstance(distribution, Constant):
        return _with_constant_latency(script, distribution.seconds)

    def decide(request: ChatRequest) -> Reply | None:
        reply = script(request)
        if reply is None:
            return None
        key = (
            str(request.sequence)
            if by == "sequence"
            else f"{request.attempt}:{request.prompt}"
        )
        drawn_s = distribution.quantile_s(drawn_share(key, seed=seed))
        return replace(reply, latency_s=reply.latency_s + drawn_s)

    return decide


def _with_constant_latency(script: Script, latency_s: float) -> Script:
    """Add the same latency to every reply.

    Most scripts return one and the same reply again and again, so the last result
    is kept: making a reply costs more than all else a script does.
    """
    last: Reply | None = None
    delayed: Reply | None = None

    def decide(request: ChatRequest) -> Reply | None:
        nonlocal last, delayed
        reply = script(request)
        if reply is None:
            return None
        if delayed is None or reply is not last:
            delayed = replace(reply, latency_s=reply.latency_s + latency_s)
            last = reply
        return delayed

    return decide
