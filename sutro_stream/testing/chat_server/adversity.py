"""Scripts of an endpoint in trouble: failures by chance, stragglers, overload."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from sutro_stream.errors import ConfigurationError
from sutro_stream.testing.chat_server.latency import drawn_share
from sutro_stream.testing.chat_server.replies import Reply
from sutro_stream.testing.chat_server.requests import ChatRequest
from sutro_stream.testing.chat_server.scripts import Script, rate_limited

# One seed draws apart which requests fail and which are slow.
_FAILING = "failing"
_SLOW = "slow"


def fail_share(share: float, reply: Reply, *, seed: int = 0) -> Script:
    """Give this reply to a share of the requests, by chance; leave the others.

    Whether a request is among them depends on its prompt and attempt, whatever the
    order of arrival.

    Raises:
        ConfigurationError: `share` is not from 0 to 1.
    """
    _check_share(share)
    return lambda request: reply if _drawn(request, _FAILING, seed) < share else None


def slow_share(
    script: Script, share: float, latency_s: float, *, seed: int = 0
) -> Script:
    """Let a share of the script's replies, by chance, take this long instead.

    Args:
        script: Decides all else; what it leaves is left.
        share: Of the requests, from 0 to 1; drawn as for `fail_share`.
        latency_s: The latency of these, in seconds.
        seed: Another seed draws others.

    Raises:
        ConfigurationError: `share` is not from 0 to 1.
    """
    _check_share(share)

    def decide(request: ChatRequest) -> Reply | None:
        reply = script(request)
        if reply is None or _drawn(request, _SLOW, seed) >= share:
            return reply
        return replace(reply, latency_s=latency_s)

    return decide


def rate_steps(
    steps: Sequence[tuple[float, float]],
    *,
    retry_after_s: float | None = None,
    burst: int = 1,
    clock: Callable[[], float] = time.monotonic,
) -> Script:
    """Answer 429 above a rate that changes without telling; leave the others.

    Args:
        steps: Seconds since the first request, and the rate from then on in
            requests a second; the first begins at 0, the others follow in order.
        retry_after_s: As for `rate_limited`.
        burst: As for `rate_limited`.
        clock: As for `rate_limited`.

    Raises:
        ConfigurationError: Steps out of order, or a number is too small.
    """
    starts = [start_s for start_s, _ in steps]
    if not starts or starts[0] != 0 or starts != sorted(set(starts)):
        raise ConfigurationError("rate_steps needs steps in order, the first at 0")
    limits = [
        rate_limited(rate, retry_after_s=retry_after_s, burst=burst, clock=clock)
        for _, rate in steps
    ]
    began_s: float | None = None

    def decide(request: ChatRequest) -> Reply | None:
        nonlocal began_s
        now_s = clock()
        if began_s is None:
            began_s = now_s
        elapsed_s = now_s - began_s
        at = sum(start_s <= elapsed_s for start_s in starts) - 1
        return limits[at](request)

    return decide


def congested(
    script: Script, *, best_in_flight: int, latency_s: float, steepness: float = 1.5
) -> Script:
    """Let answers take longer the more requests are in flight.

    Up to `best_in_flight` every answer takes `latency_s`. Beyond, latency grows with
    the power `steepness` of the requests in flight, so that above 1 the throughput
    falls: with 1.5, at four times the best number it is half of the best.

    Args:
        script: Decides all else; what it leaves is left.
        best_in_flight: Requests in flight at which throughput peaks; at least 1.
        latency_s: Added latency up to there, in seconds.
        steepness: How fast it grows; at least 0.

    Raises:
        ConfigurationError: A number is too small.
    """
    if best_in_flight < 1 or latency_s < 0 or steepness < 0:
        raise ConfigurationError(
            "congested needs best_in_flight of at least 1, no negative numbers"
        )

    def decide(request: ChatRequest) -> Reply | None:
        reply = script(request)
        if reply is None:
            return None
        load = max(1.0, request.in_flight / best_in_flight)
        return replace(reply, latency_s=reply.latency_s + latency_s * load**steepness)

    return decide


def _check_share(share: float) -> None:
    if not 0 <= share <= 1:
        raise ConfigurationError(f"a share is from 0 to 1, got {share}")


def _drawn(request: ChatRequest, purpose: str, seed: int) -> float:
    return drawn_share(f"{purpose}:{request.attempt}:{request.prompt}", seed=seed)
