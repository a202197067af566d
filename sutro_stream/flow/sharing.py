"""What several runs know and keep together of the endpoints they use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anyio.lowlevel import RunVar

from sutro_stream.errors import EngineError
from sutro_stream.flow.auto.adaptive import AdaptiveThrottle
from sutro_stream.flow.outage import Outage
from sutro_stream.flow.throttle import Throttle, ThrottleStatistics, Ticket, WaitReason
from sutro_stream.values.rate_hints import RateHint

# A share that left room to another one looks again after so long, in case it was
# not wanted.
_LOOK_AGAIN_S = 0.05

# What is known of who answers belongs to the endpoint: one probe finds out for all who
# ask there in one event loop.
_OUTAGES: RunVar[dict[str, Outage]] = RunVar("sutro_stream_outages")


def outage_of(endpoint: str) -> Outage:
    """The outage, should there be one, of an endpoint and model in this event loop."""
    try:
        known = _OUTAGES.get()
    except LookupError:
        known = {}
        _OUTAGES.set(known)
    if endpoint not in known:
        known[endpoint] = Outage(forget=lambda: known.pop(endpoint, None))
    return known[endpoint]


class SharedLimits:
    """What runs in one process know and keep together of the endpoints they use.

    Runs that are given the same object and use the same endpoint have one limit
    between them, each its part of it while the others want theirs. What is learned
    stays for the runs that follow.

    Concurrency: one event loop.
    """

    def __init__(self, make: Callable[[], Throttle] = AdaptiveThrottle) -> None:
        """Nothing known yet; `make` makes an endpoint's throttle when first used."""
        self._make = make
        self._shared: dict[str, _Shared] = {}

    def __repr__(self) -> str:
        return f"<SharedLimits {', '.join(self._shared) or 'nothing known'}>"

    def join(self, endpoint: str) -> Share:
        """The part of one more run in an endpoint's throttle; left by `Share.leave`."""
        if endpoint not in self._shared:
            self._shared[endpoint] = _Shared(self._make())
        return self._shared[endpoint].join()

    def statistics(self) -> dict[str, ThrottleStatistics]:
        """What is allowed and was seen, by endpoint."""
        return {
            endpoint: shared.throttle.statistics()
            for endpoint, shared in self._shared.items()
        }


class _Shared:
    """One endpoint's throttle, and who uses it."""

    def __init__(self, throttle: Throttle) -> None:
        self.throttle = throttle
        self.is_crowded = False
        self._shares: list[Share] = []

    def join(self) -> Share:
        share = Share(self)
        self._shares.append(share)
        self.is_crowded = len(self._shares) > 1
        self.throttle.ends_after(None)
        return share

    def leave(self, share: Share) -> None:
        if share in self._shares:
            self._shares.remove(share)
            self.wake_others(share)
        self.is_crowded = len(self._shares) > 1

    def _others(self, share: Share) -> list[Share]:
        return [other for other in self._shares if other is not share]

    def fair_room(self, share: Share, room: int) -> int:
        """The part of the room that a share may take while others want theirs."""
        others = self._others(share)
        users = 1 + sum(other.is_wanting or other.in_flight > 0 for other in others)
        fair = max(1, self.throttle.limit // users)
        if share.in_flight < fair:
            return min(room, fair - share.in_flight)
        kept = sum(
            max(0, fair - other.in_flight) for other in others if other.is_wanting
        )
        return max(0, room - kept)

    def wake_others(self, share: Share) -> None:
        for other in self._others(share):
            if other.is_wanting:
                # Whoever still wants something says so again.
                other.is_wanting = False
                if other.wake is not None:
                    other.wake()


class Share:
    """`Throttle` of one of several runs, from `SharedLimits.join`; nothing sent yet.

    Attributes:
        wake: Called when another run may have made room, `None` for nobody.
        is_wanting: Whether it was told that there is no room, and not yet woken.
    """

    def __init__(self, shared: _Shared) -> None:
        self._shared = shared
        self._throttle = shared.throttle
        self.wake: Callable[[], None] | None = None
        self.is_wanting = False
        self.in_flight = 0

    @property
    def limit(self) -> int:
        return self._throttle.limit

    def room(self, now_s: float) -> int:
        room = self._throttle.room(now_s)
        if self._shared.is_crowded and room > 0:
            room = self._shared.fair_room(self, room)
        self.is_wanting = room <= 0
        return room

    def wait_s(self, now_s: float) -> float | None:
        wait_s = self._throttle.wait_s(now_s)
        if wait_s == 0.0 and not self.room(now_s):
            return _LOOK_AGAIN_S
        return wait_s

    def sent(self, now_s: float, *, estimated_tokens: int = 0) -> Ticket:
        self.in_flight += 1
        return self._throttle.sent(now_s, estimated_tokens=estimated_tokens)

    # Called for every row: each argument by name, as a dict of them takes longer.
    def answered(
        self,
        ticket: Ticket,
        now_s: float,
        *,
        input_tokens: int = 0,
        output_tokens: int = 0,
        hint: RateHint | None = None,
    ) -> None:
        self._throttle.answered(
            ticket,
            now_s,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            hint=hint,
        )
        self._came_back()

    def failed(
        self, ticket: Ticket, now_s: float, error: EngineError, **told: Any
    ) -> None:
        self._throttle.failed(ticket, now_s, error, **told)
        self._came_back()

    def cancelled(self, ticket: Ticket, now_s: float) -> None:
        self._throttle.cancelled(ticket, now_s)
        self._came_back()

    def _came_back(self) -> None:
        self.in_flight -= 1
        if self._shared.is_crowded:
            self._shared.wake_others(self)

    def troubled(self, ticket: Ticket, now_s: float) -> None:
        self._throttle.troubled(ticket, now_s)

    def waits_for(self, now_s: float) -> WaitReason | None:
        return self._throttle.waits_for(now_s)

    def leave(self) -> None:
        """Leave the endpoint to the others; nothing may be sent any more."""
        self._shared.leave(self)

    def ends_after(self, requests: int | None) -> None:
        if not self._shared.is_crowded:
            self._throttle.ends_after(requests)

    def statistics(self) -> ThrottleStatistics:
        return self._throttle.statistics()
