"""Quantiles of the latest latencies."""

import random

import pytest

from sutro_stream.flow.latency import LatencyQuantiles


def test_nothing_is_known_before_an_answer() -> None:
    """No guess is better than a wrong one."""
    latencies = LatencyQuantiles()
    assert (latencies.count, latencies.quantile_s(0.5)) == (0, None)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("median_s", [0.001, 0.2, 40.0])
def test_quantiles_are_within_some_per_cent(share: float, median_s: float) -> None:
    """For milliseconds and for minutes."""
    rng, latencies = random.Random(1), LatencyQuantiles()
    drawn = [median_s * rng.lognormvariate(0, 0.8) for _ in range(20_000)]
    for latency_s in drawn:
        latencies.add(latency_s)
    expected = sorted(drawn)[int(share * len(drawn))]
    assert latencies.quantile_s(share) == pytest.approx(expected, rel=0.12)


def test_the_past_is_forgotten() -> None:
    """Some thousand answers after a change, the old state has no weight."""
    latencies = LatencyQuantiles()
    for _ in range(5000):
        latencies.add(10.0)
    for _ in range(3000):
        latencies.add(0.1)
    assert latencies.quantile_s(0.8) == pytest.approx(0.1, rel=0.05)


def test_it_goes_on_for_ever() -> None:
    """Weights that grow are scaled back before they overflow."""
    latencies = LatencyQuantiles()
    for _ in range(120_000):
        latencies.add(0.5)
    assert latencies.quantile_s(0.99) == pytest.approx(0.5, rel=0.05)
    assert latencies.count == 120_000


@pytest.mark.parametrize("latency_s", [0.0, 1e-9, 1e9])
def test_extremes_fall_into_the_outermost_buckets(latency_s: float) -> None:
    """Nothing is too fast or too slow to be noted."""
    latencies = LatencyQuantiles()
    latencies.add(latency_s)
    assert latencies.quantile_s(0.5) is not None
