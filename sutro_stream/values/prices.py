"""What tokens cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from sutro_stream.errors import ConfigurationError
from sutro_stream.values.outcomes import Answer, Usage

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What one model costs, in US dollars for a million tokens.

    Attributes:
        input: Tokens read.
        output: Tokens written.
        cached_input: Tokens read that the endpoint had cached, which are among those
            read; `None` where they cost as much as others.
    """

    input: float
    output: float
    cached_input: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is no price."""
        for price in (self.input, self.output, self.cached_input):
            if price is not None and not price >= 0:
                raise ConfigurationError("prices must not be negative")

    def usd(
        self, *, input_tokens: int, output_tokens: int, cached_tokens: int = 0
    ) -> float:
        """What so many tokens cost."""
        cached = min(cached_tokens, input_tokens)
        cached_price = self.input if self.cached_input is None else self.cached_input
        usd = (input_tokens - cached) * self.input
        usd += cached * cached_price + output_tokens * self.output
        return usd / _MILLION

    def usd_of(self, usage: Usage) -> float:
        """What an answer cost."""
        return self.usd(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cached_tokens=usage.cached_tokens,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceList:
    """What several models cost.

    Attributes:
        models: Prices by the name that a model is asked for by, or that it answers by.
    """

    models: Mapping[str, Prices] = field(hash=False)

    def of(self, asked: str | None, answering: str | None) -> Prices | None:
        """Prices of a model: by the name asked for, or else by the answering one."""
        for name in (asked, answering):
            if name is not None and name in self.models:
                return self.models[name]
        return None


Priced: TypeAlias = Prices | PriceList
"""Prices of the model that is asked, or a list that has it."""


def prices_of(
    priced: Priced, asked: str | None, answering: str | None
) -> Prices | None:
    """The prices of an answer; `None` where the list does not have its model."""
    return priced if isinstance(priced, Prices) else priced.of(asked, answering)


def usd_of_answer(priced: Priced, asked: str | None, answer: Answer) -> float | None:
    """What an answer cost; `None` where tokens or prices are not known."""
    prices, usage = prices_of(priced, asked, answer.model), answer.usage
    return None if prices is None or usage is None else prices.usd_of(usage)
