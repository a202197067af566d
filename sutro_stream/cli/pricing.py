"""What tokens cost: the options of all commands that tell it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sutro_stream.cli.declared import FILE, Group, option

if TYPE_CHECKING:
    from sutro_stream.values.prices import Priced

_PRICE = click.FloatRange(min=0)


@dataclass(frozen=True, kw_only=True)
class PricingOptions:
    """Prices; the defaults stand for "not given"."""

    input_price: float | None = option(
        Group.LIMITS,
        "--input-price",
        type=_PRICE,
        metavar="USD",
        help="Per million input tokens, for what the run costs and for usd=.",
    )
    output_price: float | None = option(
        Group.LIMITS,
        "--output-price",
        type=_PRICE,
        metavar="USD",
        help="Per million output tokens.",
    )
    cached_input_price: float | None = option(
        Group.LIMITS,
        "--cached-input-price",
        type=_PRICE,
        metavar="USD",
        help="Per million input tokens that the endpoint had cached.  [default: as "
        "--input-price]",
    )
    prices: Path | None = option(
        Group.LIMITS,
        "--prices",
        type=FILE,
        metavar="FILE",
        help="Prices of several models (TOML): a table with each one's name, of input, "
        "output and cached_input in USD per million tokens.",
    )

    @property
    def priced(self) -> Priced | None:
        """The prices given, `None` without.

        Raises:
            UsageError: They do not fit together.
            ConfigurationError: The file is not one of prices.
        """
        from sutro_stream.settings.price_file import read_prices  # noqa: PLC0415
        from sutro_stream.values.prices import Prices  # noqa: PLC0415

        given = (self.input_price, self.output_price, self.cached_input_price)
        if self.prices is not None:
            if given != (None, None, None):
                raise click.UsageError(
                    "--prices and the prices of one model exclude each other"
                )
            return read_prices(self.prices)
        if given == (None, None, None):
            return None
        if self.input_price is None or self.output_price is None:
            raise click.UsageError("give --input-price and --output-price together")
        return Prices(
            input=self.input_price,
            output=self.output_price,
            cached_input=self.cached_input_price,
        )
