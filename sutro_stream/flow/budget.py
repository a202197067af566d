"""When a run has spent what it was given."""

from __future__ import annotations

from dataclasses import dataclass

from sutro_stream.errors import ConfigurationError
from sutro_stream.values.prices import Priced, Prices, prices_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The most a run may spend; `None` for no limit.

    Attributes:
        usd: US dollars; needs prices.
        tokens: Input and output tokens together.
        calls: Requests, retries included.
        minutes: Time.
        input_usd_per_million: Price of a million input tokens.
        output_usd_per_million: Price of a million output tokens.
        cached_input_usd_per_million: Price of those input tokens that the endpoint
            had cached; `None` for that of all others.
        prices: In place of these three.
    """

    usd: float | None = None
    tokens: int | None = None
    calls: int | None = None
    minutes: float | None = None
    input_usd_per_million: float | None = None
    output_usd_per_million: float | None = None
    cached_input_usd_per_million: float | None = None
    prices: Priced | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be kept to."""
        for name in ("usd", "tokens", "calls", "minutes"):
            limit = getattr(self, name)
            if limit is not None and not limit > 0:
                raise ConfigurationError(f"a budget's {name} must be above 0")
        prices = (self.input_usd_per_million, self.output_usd_per_million)
        if any(price is not None and price < 0 for price in prices):
            raise ConfigurationError("prices must not be negative")
        if self.usd is not None and self.priced is None:
            raise ConfigurationError(
                "a budget in USD needs input_usd_per_million and "
                "output_usd_per_million, the prices of the model"
            )

    @property
    def priced(self) -> Priced | None:
        """The prices, however they are given; `None` where they are not."""
        paid_in, paid_out = self.input_usd_per_million, self.output_usd_per_million
        if self.prices is not None or paid_in is None or paid_out is None:
            return self.prices
        return Prices(
            input=paid_in,
            output=paid_out,
            cached_input=self.cached_input_usd_per_million,
        )


class BudgetMeter:
    """What of a budget is spent; at first, nothing.

    Requests in flight count with what answered ones have cost on average, so that
    a run ends close to its budget and not a window of requests beyond. Until the
    first answer nothing is known of the cost, and they count nothing.

    Concurrency: one event loop; no method waits.

    Attributes:
        calls: Requests so far.
    """

    def __init__(
        self, budget: Budget, *, started_s: float, model: str | None = None
    ) -> None:
        """An unspent budget.

        Args:
            budget: What may be spent.
            started_s: The time now.
            model: Whose prices count, `None` for those of the one that answers.
        """
        self._budget = budget
        self._priced = budget.priced
        self._model = model
        self._usd = 0.0
        self._started_s = started_s
        self.calls = 0
        self._in_flight = 0
        self._answers = 0
        self._input_tokens = 0
        self._output_tokens = 0
        self._is_estimated = False

    @property
    def tokens(self) -> int:
        """Tokens of the answers so far."""
        return self._input_tokens + self._output_tokens

    @property
    def usd(self) -> float | None:
        """Cost of the answers so far, `None` without prices."""
        return None if self._priced is None else self._usd

    def sent(self) -> None:
        """Note a request going out."""
        self.calls += 1
        self._in_flight += 1

    def answered(
        self,
        *,
        input_tokens: int,
        output_tokens: int,
        cached_tokens: int = 0,
        estimated: tuple[int, int] = (0, 0),
        model: str | None = None,
    ) -> None:
        """Note its answer.

        Args:
            input_tokens: As the engine counted them, 0 when it did not.
            output_tokens: As `input_tokens`.
            cached_tokens: Input tokens among them that the endpoint had cached.
            estimated: What counts in place of both where both are 0.
            model: That answered, `None` where it did not say.
        """
        if not input_tokens and not output_tokens:
            input_tokens, output_tokens = estimated
            self._is_estimated |= bool(input_tokens or output_tokens)
        self._in_flight -= 1
        self._answers += 1
        self._input_tokens += input_tokens
        self._output_tokens += output_tokens
        if self._priced is None:
            return
        prices = prices_of(self._priced, self._model, model)
        if prices is not None:
            self._usd += prices.usd(
                input_tokens=input_tokens,
                output_tokens=output_tokens,
                cached_tokens=cached_tokens,
            )

    def failed(self) -> None:
        """Note that it ended without one: an error, or cancelled."""
        self._in_flight -= 1

    def exhausted(self, now_s: float) -> str | None:
        """Why no further request may be sent, `None` while one may."""
        budget = self._budget
        if budget.calls is not None and self.calls >= budget.calls:
            return f"the budget of {budget.calls:,} calls is used up"
        if budget.minutes is not None:
            minutes = (now_s - self._started_s) / 60
            if minutes >= budget.minutes:
                return f"the budget of {budget.minutes:g} minutes is used up"
        if budget.tokens is not None and self._expected(self.tokens) >= budget.tokens:
            return f"the budget of {budget.tokens:,} tokens is used up{self._by}"
        if budget.usd is not None and self._expected(self.usd or 0.0) >= budget.usd:
            return f"the budget of {budget.usd:,.2f} USD is used up{self._by}"
        return None

    @property
    def _by(self) -> str:
        """Words for what was not counted by the endpoint."""
        told = ", as estimated: the endpoint does not tell what answers take"
        return told if self._is_estimated else ""

    def _expected(self, spent: float) -> float:
        """What is spent once the requests in flight are answered."""
        if not self._answers:
            return spent
        return spent * (self._answers + self._in_flight) / self._answers
