"""When a run has spent what it was given."""

import pytest

from sutro_stream.errors import ConfigurationError
from sutro_stream.flow.budget import Budget, BudgetMeter


def meter(budget: Budget) -> BudgetMeter:
    """A run that began at 100 s."""
    return BudgetMeter(budget, started_s=100.0)


def test_no_limit_is_never_exhausted() -> None:
    """Whatever is spent."""
    spent = meter(Budget())
    spent.sent()
    spent.answered(input_tokens=10**9, output_tokens=10**9)
    assert spent.exhausted(1e9) is None
    assert spent.usd is None


def test_calls_are_counted_when_they_are_sent() -> None:
    """Failed ones as well: they are paid for, or annoy."""
    spent = meter(Budget(calls=2))
    spent.sent()
    assert spent.exhausted(100.0) is None
    spent.failed()
    spent.sent()
    assert spent.exhausted(100.0) == "the budget of 2 calls is used up"
    assert spent.calls == 2


def test_time_is_counted_from_the_start() -> None:
    """In minutes."""
    spent = meter(Budget(minutes=1.5))
    assert spent.exhausted(189.9) is None
    assert spent.exhausted(190.0) == "the budget of 1.5 minutes is used up"


def test_tokens_in_flight_count_as_answered_ones_did() -> None:
    """Nine requests out, with ten tokens each, would reach the hundred."""
    spent = meter(Budget(tokens=100))
    for _ in range(9):
        spent.sent()
    spent.answered(input_tokens=6, output_tokens=4)
    assert spent.tokens == 10
    assert spent.exhausted(100.0) is None
    spent.sent()
    assert spent.exhausted(100.0) == "the budget of 100 tokens is used up"
    spent.failed()
    assert spent.exhausted(100.0) is None


def test_money_is_tokens_times_prices() -> None:
    """Input and output have prices of their own."""
    spent = meter(
        Budget(usd=3.0, input_usd_per_million=1.0, output_usd_per_million=4.0)
    )
    spent.sent()
    spent.answered(input_tokens=1_000_000, output_tokens=250_000)
    assert spent.usd == pytest.approx(2.0)
    assert spent.exhausted(100.0) is None
    spent.sent()
    assert spent.exhausted(100.0) == "the budget of 3.00 USD is used up"


@pytest.mark.parametrize(
    "arguments",
    [
        {"usd": 0.0, "input_usd_per_million": 1.0, "output_usd_per_million": 1.0},
        {"usd": 1.0},
        {"usd": 1.0, "input_usd_per_million": 1.0},
        {"tokens": 0},
        {"calls": -1},
        {"minutes": float("nan")},
        {"input_usd_per_million": -1.0},
    ],
    ids=lambda arguments: ",".join(f"{name}={arguments[name]}" for name in arguments),
)
def test_budgets_that_make_no_sense_are_refused(arguments: dict[str, float]) -> None:
    """Before anything is spent."""
    with pytest.raises(ConfigurationError):
        Budget(**arguments)  # type: ignore[arg-type]
