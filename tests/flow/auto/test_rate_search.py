"""The rate that an endpoint permits, from what it refuses."""

import pytest

from sutro_stream.flow.auto.rate_search import RateSearch, Refusal

REFUSAL_S = 0.005


class Endpoint:
    """Lets so many a second through, and tells at once what it refuses."""

    def __init__(
        self,
        rates: RateSearch,
        per_s: float,
        *,
        burst: float = 20.0,
        now_s: float = 0.0,
        refusal_s: float = REFUSAL_S,
    ) -> None:
        self.rates = rates
        self.per_s = per_s
        self.burst = burst
        self.tokens = burst
        self.now_s = now_s
        self.refusal_s = refusal_s
        self.sent = 0
        self.refused = 0
        self.kinds: list[Refusal] = []
        self._late: list[tuple[int, float]] = []

    def run(self, until_s: float, *, retry_after_s: float | None = None) -> float:
        """Send what may be sent; the share of the permitted rate that got through."""
        admitted, started_s = 0, self.now_s
        while self.now_s < until_s:
            self.now_s += 0.001
            self.tokens = min(self.burst, self.tokens + self.per_s * 0.001)
            self._deliver(retry_after_s)
            room = min(self.rates.room(self.now_s), 50)
            while room >= 1:
                self.rates.sent(self.sent, self.now_s)
                if self.tokens >= 1:
                    self.tokens -= 1
                    admitted += 1
                else:
                    self._late.append((self.sent, self.now_s))
                self.sent += 1
                room = min(self.rates.room(self.now_s), room - 1)
        return admitted / (self.per_s * (until_s - started_s))

    def _deliver(self, retry_after_s: float | None) -> None:
        while self._late and self._late[0][1] + self.refusal_s <= self.now_s:
            sequence, sent_s = self._late.pop(0)
            self.refused += 1
            kind = self.rates.refused(sequence, sent_s, self.now_s, retry_after_s)
            self.kinds.append(kind)


def test_nothing_is_limited_before_a_refusal() -> None:
    """A gentle start, doubling, and soon no limit at all."""
    rates = RateSearch()
    endpoint = Endpoint(rates, 1e6, burst=1e6)
    endpoint.run(0.1)
    assert endpoint.sent < 60
    endpoint.run(2.5)
    assert rates.room(2.5) > 1e9
    assert rates.rate_per_s is None


@pytest.mark.parametrize("per_s", [20, 100, 400, 3000])
@pytest.mark.parametrize("burst", [10, 100, 1000])
def test_a_permitted_rate_is_found_and_kept(per_s: float, burst: float) -> None:
    """Nearly all of it is used, and few requests are refused."""
    sent = refused = 0
    # When a trial falls into the seconds measured is a matter of chance.
    for refusal_s in (0.003, 0.005, 0.007):
        endpoint = Endpoint(RateSearch(), per_s, burst=burst, refusal_s=refusal_s)
        warm_up_s = 5.0 + burst / per_s
        endpoint.run(warm_up_s)
        sent, refused = sent - endpoint.sent, refused - endpoint.refused
        assert endpoint.run(warm_up_s + 20.0) > 0.95
        sent, refused = sent + endpoint.sent, refused + endpoint.refused
    # A low limit is met again after fewer requests.
    assert refused / sent < max(0.03, 1.2 / per_s)


def test_a_clock_may_start_anywhere() -> None:
    """A limit met at once is found as quickly when the clock shows days."""
    endpoint = Endpoint(RateSearch(), 100, burst=2, now_s=1e6)
    endpoint.tokens = 0.0
    endpoint.run(1e6 + 3.0)
    assert endpoint.run(1e6 + 6.0) > 0.85


def test_a_burst_of_refusals_is_cut_once() -> None:
    """Those sent before the cut tell nothing new."""
    rates = RateSearch()
    endpoint = Endpoint(rates, 1e6, burst=1e6)
    endpoint.run(0.5)
    before = rates.cuts
    kinds = {
        rates.refused(sequence, 0.49, 0.5, None)
        for sequence in range(endpoint.sent - 20, endpoint.sent)
    }
    assert rates.cuts == before + 1
    assert kinds == {Refusal.EXCESS, Refusal.STALE}


def test_single_refusals_among_many_answers_change_nothing() -> None:
    """Some endpoints refuse one in a hundred, whatever the rate."""
    rates = RateSearch()
    endpoint = Endpoint(rates, 500)
    endpoint.run(5.0)
    endpoint.per_s = endpoint.burst = 1e6
    sequence, cuts = endpoint.sent, rates.cuts
    for refusal in range(20):
        endpoint.run(5.2 + 0.2 * refusal)
        assert endpoint.sent - sequence > 50
        sequence = endpoint.sent
        kind = rates.refused(sequence - 1, endpoint.now_s, endpoint.now_s, None)
        assert kind is Refusal.ISOLATED
    assert rates.cuts == cuts
    assert (rates.rate_per_s or 0) > 5000


def test_a_limit_that_was_raised_is_found() -> None:
    """Within seconds, though nobody told."""
    endpoint = Endpoint(RateSearch(), 100)
    endpoint.run(10.0)
    endpoint.per_s = 800
    endpoint.run(14.0)
    assert endpoint.run(15.0) > 0.9


def test_a_limit_that_was_lowered_is_followed_at_once() -> None:
    """With few refusals."""
    endpoint = Endpoint(RateSearch(), 800)
    endpoint.run(10.0)
    refused = endpoint.refused
    endpoint.per_s = 100
    endpoint.run(11.0)
    assert endpoint.refused - refused < 30
    assert endpoint.run(15.0) > 0.9


def test_while_nothing_gets_through_it_is_asked_now_and_then() -> None:
    """One request at a time, as long apart as the endpoint tells."""
    rates = RateSearch()
    endpoint = Endpoint(rates, 200)
    endpoint.run(5.0)
    endpoint.per_s = 1e-9
    endpoint.run(5.5, retry_after_s=10.0)
    sent = endpoint.sent
    endpoint.run(65.0, retry_after_s=10.0)
    assert endpoint.sent - sent <= 10
    endpoint.per_s = 200.0
    endpoint.run(78.0, retry_after_s=10.0)
    assert endpoint.run(80.0) > 0.9


def test_the_wait_is_until_there_is_room() -> None:
    """Neither too early, which costs a wake-up, nor too late, which costs rate."""
    rates = RateSearch()
    endpoint = Endpoint(rates, 50)
    endpoint.run(5.0)
    while rates.room(endpoint.now_s) >= 1:
        rates.sent(endpoint.sent, endpoint.now_s)
        endpoint.sent += 1
    wait_s = rates.wait_s(endpoint.now_s)
    assert rates.room(endpoint.now_s + 0.9 * wait_s) < 1
    assert rates.room(endpoint.now_s + 1.01 * wait_s) >= 1


def test_idle_time_teaches_nothing() -> None:
    """After a minute's pause the rate is the one that was known."""
    rates = RateSearch()
    endpoint = Endpoint(rates, 300)
    endpoint.run(5.0)
    known = rates.rate_per_s
    assert known is not None
    rates.room(endpoint.now_s + 60.0)
    after = rates.rate_per_s
    assert after is not None
    assert after < 1.3 * known


def test_nothing_is_risked_towards_the_end() -> None:
    """A row refused now would come back when all others are done."""
    rates = RateSearch()
    endpoint = Endpoint(rates, 400)
    endpoint.run(3.0, retry_after_s=1.0)
    rates.ends_after(550)
    refused = endpoint.refused
    endpoint.run(4.4, retry_after_s=1.0)
    assert endpoint.refused == refused
