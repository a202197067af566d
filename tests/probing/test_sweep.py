from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from sutro_stream.errors import ConfigurationError, EngineError
from sutro_stream.probing.levels import Level, knee
from sutro_stream.probing.sweep import Sweep, sweep
from sutro_stream.testing import (
    Conditions,
    Constant,
    SimulatedEndpoint,
    SimulatedEngine,
    run_virtual,
)
from sutro_stream.values.instructions import Instructions

TENTH = Constant(seconds=0.1)


def measured(conditions: Conditions, **options: Any) -> Sequence[Level]:
    """The levels of a simulated endpoint, on virtual time."""
    found: list[Level] = []
    shown: list[Level] = []

    async def run() -> None:
        wanted = Sweep(
            prompts=[f"text {number}" for number in range(50)],
            instructions=Instructions(),
            **{"seconds": 4.0, "most_in_flight": 64} | options,
        )
        async with SimulatedEngine(SimulatedEndpoint(conditions)) as engine:
            found.extend(await sweep(engine, wanted, on_level=shown.append))

    run_virtual(run)
    assert shown == found
    return found


def test_it_finds_the_slots_of_an_endpoint() -> None:
    """Eight slots of a tenth of a second answer 80 rows a second, and no more."""
    found = measured(Conditions(latency=TENTH, slots=8), with_auto=False)
    assert [level.in_flight for level in found] == [1, 2, 4, 8, 16, 32]
    rates = [level.rows_per_s for level in found]
    assert rates == pytest.approx([10, 20, 40, 80, 80, 80], rel=0.05)
    assert found[3].p95_s == pytest.approx(0.1, rel=0.05)
    assert found[5].p95_s == pytest.approx(0.4, rel=0.05)
    best = knee(found)
    assert best is not None
    assert best.in_flight == 8
    assert [level.peak_in_flight for level in found] == [1, 2, 4, 8, 16, 32]


def test_what_auto_finds_comes_last() -> None:
    """Close to the best level, on an endpoint with one."""
    found = measured(Conditions(latency=TENTH, slots=8), seconds=10.0)
    assert [level.is_found for level in found] == [False] * 6 + [True]
    assert found[-1].rows_per_s > 0.9 * 80
    assert found[-1].in_flight < 64


def test_slow_answers_make_a_level_longer() -> None:
    """One that ends with its first answers would measure how it began."""
    slow = Conditions(latency=Constant(seconds=5.0), slots=2)
    found = measured(slow, seconds=6.0, most_in_flight=2, with_auto=False)
    assert [level.rows_per_s for level in found] == pytest.approx([0.2, 0.4], rel=0.15)


def test_an_endpoint_that_refuses_ends_the_sweep() -> None:
    """More than it takes bring refusals, and no more answers."""
    found = measured(Conditions(latency=TENTH, most_in_flight=4), with_auto=False)
    assert [level.in_flight for level in found] == [1, 2, 4, 8, 16]
    assert [level.failures > 0 for level in found] == [False] * 3 + [True] * 2
    best = knee(found)
    assert best is not None
    assert best.in_flight == 4


def test_an_endpoint_that_answers_nothing_is_an_error() -> None:
    """There is nothing to measure."""
    with pytest.raises(EngineError):
        measured(Conditions(latency=TENTH, failing=1.0))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"prompts": []}, "no prompt"),
        ({"seconds": 0.0}, "longer than 0"),
        ({"most_in_flight": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    changed: dict[str, Any], reason: str
) -> None:
    """Before anything is sent."""
    given: dict[str, Any] = {"prompts": ["a"], "instructions": Instructions()}
    with pytest.raises(ConfigurationError, match=reason):
        Sweep(**given | changed)
