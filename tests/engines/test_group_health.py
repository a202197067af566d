"""What is known of endpoints, and who gets the next request; no loop, no clock."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutro_stream.engines.endpoint_health import (
    EndpointChooser,
    EndpointHealth,
    SetAside,
    Standing,
    Ticket,
)
from sutro_stream.errors import (
    AuthenticationError,
    ConfigurationError,
    EngineError,
    EngineUnavailableError,
    InputTooLongError,
    NotFoundError,
    ProtocolError,
    QuotaError,
    RateLimitedError,
    ServiceError,
    TransportError,
)

RULES = SetAside(failures=3, first_pause_s=10.0, longest_pause_s=60.0)
FAULT = ServiceError("overloaded", status=503)
REFUSAL = ServiceError("bad request", status=400)


def chooser(*weights: float) -> EndpointChooser:
    """Healthy endpoints."""
    return EndpointChooser(weights, rules=RULES, rng=random.Random(1))


def lone() -> EndpointHealth:
    """A healthy endpoint by itself."""
    return chooser(1.0).endpoints[0]


def fail(
    endpoint: EndpointHealth, times: int, *, now_s: float = 0.0, error: EngineError
) -> None:
    """Requests that fail, one after the other."""
    for _ in range(times):
        endpoint.end_failed(endpoint.begin(now_s), error, now_s=now_s)


def answer(endpoint: EndpointHealth, times: int, *, now_s: float = 0.0) -> None:
    """Requests that are answered, one after the other."""
    for _ in range(times):
        endpoint.end_answered(endpoint.begin(now_s))


def set_aside(endpoint: EndpointHealth) -> float:
    """When the next probe is due of an endpoint that is set aside now."""
    fail(endpoint, 3, error=FAULT)
    until_s = endpoint.aside_until_s
    assert until_s is not None
    return until_s


def sent_to(tickets: Sequence[Ticket | None]) -> list[int]:
    """Which endpoints got them."""
    return [ticket.index for ticket in tickets if ticket is not None]


def test_equal_endpoints_take_turns() -> None:
    """Also when nothing is in flight, so that none is always first."""
    group = chooser(8, 8, 8)
    order = []
    for _ in range(9):
        ticket = group.choose(0.0)
        assert ticket is not None
        group.endpoints[ticket.index].end_answered(ticket)
        order.append(ticket.index)
    assert order == [0, 1, 2] * 3


def test_load_follows_the_weights() -> None:
    """Requests in flight are shared out in proportion."""
    group = chooser(30, 10)
    tickets = [group.choose(0.0) for _ in range(80)]
    assert Counter(sent_to(tickets)) == {0: 60, 1: 20}


def test_the_next_request_goes_where_least_is_in_flight() -> None:
    """A quick endpoint gets more than its turn."""
    group = chooser(8, 8)
    first, second = group.choose(0.0), group.choose(0.0)
    assert sent_to([first, second]) == [0, 1]
    assert second is not None
    group.endpoints[1].end_answered(second)
    assert sent_to([group.choose(0.0)]) == [1]


@pytest.mark.parametrize(
    "error",
    [
        FAULT,
        TransportError("cut"),
        ProtocolError("not JSON"),
        ServiceError("busy", status=409),
    ],
)
def test_failures_in_a_row_set_an_endpoint_aside(error: EngineError) -> None:
    """With the reason, and for about the first pause."""
    endpoint = lone()
    fail(endpoint, 2, error=error)
    assert endpoint.standing(0.0) is Standing.READY
    fail(endpoint, 1, error=error)
    assert endpoint.standing(0.0) is Standing.ASIDE
    assert endpoint.reason is error
    assert endpoint.aside_until_s == pytest.approx(10.0, rel=0.2)


@pytest.mark.parametrize("error", [REFUSAL, InputTooLongError("long")])
def test_a_rows_own_error_is_a_sign_of_life(error: EngineError) -> None:
    """However many come, and also between failures."""
    endpoint = lone()
    fail(endpoint, 2, error=FAULT)
    fail(endpoint, 10, error=error)
    fail(endpoint, 2, error=FAULT)
    assert endpoint.standing(0.0) is Standing.READY


def test_an_answer_ends_a_streak() -> None:
    """An endpoint that fails now and then stays."""
    endpoint = lone()
    for _ in range(5):
        fail(endpoint, 2, error=FAULT)
        answer(endpoint, 1)
    assert endpoint.standing(0.0) is Standing.READY


def test_an_endpoint_that_is_down_is_set_aside_at_once() -> None:
    """It says itself that it answers nobody; it may come back all the same."""
    endpoint = lone()
    fail(endpoint, 1, error=EngineUnavailableError("died"))
    assert endpoint.standing(0.0) is Standing.ASIDE
    assert endpoint.standing(12.0) is Standing.DUE


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError("key", status=401),
        QuotaError("quota", status=402),
        NotFoundError("model", status=404),
    ],
)
def test_an_endpoint_that_turns_us_away_is_set_aside_for_good(
    error: EngineError,
) -> None:
    """After refusals in a row of what others answered; whatever it answers later."""
    endpoint = lone()
    early, last = endpoint.begin(0.0), endpoint.begin(0.0)
    for _ in range(RULES.failures):
        assert endpoint.standing(0.0) is Standing.READY
        fail(endpoint, 1, error=error)
        endpoint.turned_away(error)
    endpoint.end_answered(early)
    endpoint.end_failed(last, FAULT, now_s=0.0)
    assert endpoint.standing(1e9) is Standing.CLOSED
    assert endpoint.aside_until_s == math.inf
    assert endpoint.reason is error


def test_one_request_finds_out_whether_it_works_again() -> None:
    """The others go elsewhere until it is answered."""
    group = chooser(8, 8)
    until_s = set_aside(group.endpoints[0])
    assert sent_to([group.choose(until_s - 0.1) for _ in range(3)]) == [1, 1, 1]
    probe, *others = (group.choose(until_s) for _ in range(4))
    assert probe is not None
    assert probe.is_probe
    assert sent_to([probe, *others]) == [0, 1, 1, 1]


def test_the_pause_grows_with_each_probe_that_fails() -> None:
    """Doubling, with jitter, up to the longest."""
    endpoint = lone()
    until_s = set_aside(endpoint)
    for pause_s in (20.0, 40.0, 60.0, 60.0):
        fail(endpoint, 1, now_s=until_s, error=FAULT)
        began_s, until_s = until_s, endpoint.aside_until_s or 0.0
        assert until_s - began_s == pytest.approx(pause_s, rel=0.2)
    drawn = {set_aside(each) for each in chooser(*[1.0] * 5).endpoints}
    assert len(drawn) == 5


def test_an_endpoint_that_recovers_is_trusted_little_by_little() -> None:
    """Having nothing in flight, it would get everybody's requests at once."""
    group = chooser(100, 100)
    back = group.endpoints[0]
    until_s = set_aside(back)
    answer(back, 1, now_s=until_s)
    assert back.reason is None
    first = [group.choose(until_s) for _ in range(20)]
    assert Counter(sent_to(first))[0] == 2
    for ticket in first:
        if ticket is not None and ticket.index == 0:
            back.end_answered(ticket)
    assert Counter(sent_to([group.choose(until_s) for _ in range(20)]))[0] == 4
    answer(back, 100, now_s=until_s)
    assert Counter(sent_to([group.choose(until_s) for _ in range(50)]))[0] > 25


def test_pauses_start_anew_only_after_a_full_recovery() -> None:
    """An endpoint that comes and goes is asked ever more rarely."""
    endpoint = lone()
    until_s = set_aside(endpoint)
    answer(endpoint, 5, now_s=until_s)
    fail(endpoint, 3, now_s=until_s, error=FAULT)
    assert (endpoint.aside_until_s or 0.0) - until_s == pytest.approx(20.0, rel=0.2)
    until_s = endpoint.aside_until_s or 0.0
    answer(endpoint, 100, now_s=until_s)
    fail(endpoint, 3, now_s=until_s, error=FAULT)
    assert (endpoint.aside_until_s or 0.0) - until_s == pytest.approx(10.0, rel=0.2)


@pytest.mark.parametrize(("asked_s", "pause_s"), [(7.0, 7.0), (None, 10.0)])
def test_a_throttled_endpoint_is_less_preferred_for_a_while(
    asked_s: float | None, pause_s: float
) -> None:
    """As long as it asked for; it is not set aside, and no failure counts."""
    group = chooser(8, 8)
    throttled = group.endpoints[0]
    error = RateLimitedError("slower", status=429, retry_after_s=asked_s)
    fail(throttled, 10, error=error)
    assert sent_to([group.choose(pause_s - 0.1) for _ in range(3)]) == [1, 1, 1]
    assert sent_to([group.choose(pause_s)]) == [0]
    assert throttled.aside_until_s is None


def test_a_throttled_endpoint_is_better_than_none() -> None:
    """The request that it refuses tells when to come back."""
    group = chooser(8)
    error = RateLimitedError("slower", status=429, retry_after_s=5.0)
    fail(group.endpoints[0], 1, error=error)
    assert group.choose(0.0, worst=Standing.READY) is None
    assert sent_to([group.choose(0.0)]) == [0]


def test_a_throttled_probe_shows_that_the_endpoint_works_again() -> None:
    """It is asked again when its time has come, and not at once."""
    endpoint = lone()
    until_s = set_aside(endpoint)
    error = RateLimitedError("slower", status=429, retry_after_s=5.0)
    fail(endpoint, 1, now_s=until_s, error=error)
    assert endpoint.standing(until_s) is Standing.RELUCTANT
    assert endpoint.standing(until_s + 5.0) is Standing.READY


def test_requests_from_before_say_nothing_about_an_endpoint_set_aside() -> None:
    """Neither their failures lengthen the pause, nor do their answers end it."""
    endpoint = lone()
    early = [endpoint.begin(0.0) for _ in range(20)]
    until_s = set_aside(endpoint)
    for ticket in early[:10]:
        endpoint.end_failed(ticket, FAULT, now_s=1.0)
    for ticket in early[10:15]:
        endpoint.end_answered(ticket)
    for ticket in early[15:]:
        endpoint.end_dropped(ticket, now_s=1.0)
    assert endpoint.aside_until_s == until_s


def test_with_all_set_aside_requests_are_sent_all_the_same() -> None:
    """To the least loaded; an answer brings it back, a failure changes nothing."""
    group = chooser(8, 8)
    until_s = [set_aside(endpoint) for endpoint in group.endpoints]
    tickets = [group.choose(0.0) for _ in range(4)]
    assert sorted(sent_to(tickets)) == [0, 0, 1, 1]
    for ticket in tickets[:3]:
        assert ticket is not None
        assert not ticket.is_probe
        group.endpoints[ticket.index].end_failed(ticket, FAULT, now_s=0.0)
    assert [endpoint.aside_until_s for endpoint in group.endpoints] == until_s
    last = tickets[3]
    assert last is not None
    group.endpoints[last.index].end_answered(last)
    assert group.endpoints[last.index].aside_until_s is None


def test_requests_dropped_unanswered_set_a_silent_endpoint_aside() -> None:
    """One that hangs never fails: deadlines and lost races end its requests."""
    endpoint = lone()
    tickets = [endpoint.begin(0.0) for _ in range(3)]
    for ticket in tickets:
        endpoint.end_dropped(ticket, now_s=60.0)
    assert endpoint.standing(60.0) is Standing.ASIDE
    assert "hang" in str(endpoint.reason)


def test_requests_dropped_by_a_lively_endpoint_do_not_count() -> None:
    """A straggler says nothing if others were answered meanwhile."""
    endpoint = lone()
    for _ in range(10):
        straggler = endpoint.begin(0.0)
        answer(endpoint, 1)
        endpoint.end_dropped(straggler, now_s=1.0)
    assert endpoint.standing(1.0) is Standing.READY


def test_a_probe_that_is_dropped_frees_its_place() -> None:
    """The next one is due after another pause."""
    endpoint = lone()
    until_s = set_aside(endpoint)
    endpoint.end_dropped(endpoint.begin(until_s), now_s=until_s)
    assert endpoint.standing(until_s) is Standing.ASIDE
    assert endpoint.standing(until_s + 24.0) is Standing.DUE


def test_pauses_stay_finite_however_long_an_endpoint_is_gone() -> None:
    """Probes go on for weeks."""
    endpoint = lone()
    set_aside(endpoint)
    for _ in range(2000):
        fail(endpoint, 1, now_s=endpoint.aside_until_s or 0.0, error=FAULT)
    assert endpoint.failed == 2003
    assert (endpoint.aside_until_s or 0.0) < 2000 * 60 * 1.2


def test_excluded_endpoints_are_not_chosen() -> None:
    """And nothing is chosen where nobody is left."""
    group = chooser(8, 8)
    assert sent_to([group.choose(0.0, excluded={0}) for _ in range(3)]) == [1, 1, 1]
    assert group.choose(0.0, excluded={0, 1}) is None


@pytest.mark.parametrize(
    "arguments",
    [
        {"failures": 0},
        {"first_pause_s": 0.0},
        {"first_pause_s": 2.0, "longest_pause_s": 1.0},
    ],
)
def test_rules_must_make_sense(arguments: dict[str, float]) -> None:
    """Told on construction."""
    with pytest.raises(ConfigurationError):
        SetAside(**arguments)  # type: ignore[arg-type]


ENDINGS = st.sampled_from(
    [
        None,
        "drop",
        FAULT,
        REFUSAL,
        RateLimitedError("slower", status=429, retry_after_s=3.0),
        EngineUnavailableError("died"),
        AuthenticationError("key", status=401),
    ]
)


@given(
    steps=st.lists(
        st.tuples(st.booleans(), st.integers(0, 50), st.floats(0, 20), ENDINGS),
        max_size=80,
    )
)
def test_every_request_is_accounted_for(
    steps: list[tuple[bool, int, float, EngineError | str | None]],
) -> None:
    """Counts add up, one probe at a time, none for those set aside for good."""
    group = chooser(8, 4, 1)
    out: list[Ticket] = []
    now_s = 0.0

    def end(ticket: Ticket, ending: EngineError | str | None) -> None:
        endpoint = group.endpoints[ticket.index]
        if ending is None:
            endpoint.end_answered(ticket)
        elif isinstance(ending, EngineError):
            endpoint.end_failed(ticket, ending, now_s=now_s)
        else:
            endpoint.end_dropped(ticket, now_s=now_s)

    for begins, position, seconds, ending in steps:
        now_s += seconds
        if begins or not out:
            closed = {
                each.index
                for each in group.endpoints
                if each.standing(now_s) is Standing.CLOSED
            }
            ticket = group.choose(now_s)
            assert (ticket is None) == (len(closed) == 3)
            if ticket is not None:
                assert ticket.index not in closed
                out.append(ticket)
        else:
            end(out.pop(position % len(out)), ending)
        for each in group.endpoints:
            mine = [ticket for ticket in out if ticket.index == each.index]
            assert each.in_flight == len(mine)
            assert sum(ticket.is_probe for ticket in mine) <= 1
            ended = each.answered + each.failed + each.dropped
            assert each.sent == ended + each.in_flight
    for ticket in out:
        end(ticket, None)
    assert all(each.in_flight == 0 for each in group.endpoints)
