"""Files of prices: what models cost, a table for each."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field, TypeAdapter

from sutro_stream.errors import ConfigurationError
from sutro_stream.values.parsing import parse_json
from sutro_stream.values.prices import PriceList, Prices

Price = Annotated[float, Field(ge=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTable:
    """What a model costs, in US dollars for a million tokens."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False
    )

    input: Price
    output: Price = 0.0
    cached_input: Price | None = None

    @property
    def prices(self) -> Prices:
        """Checked."""
        return Prices(
            input=self.input, output=self.output, cached_input=self.cached_input
        )


def read_prices(path: Path) -> PriceList:
    """The prices in a TOML file: a table with the name of each model.

    Raises:
        ConfigurationError: It cannot be read, is no TOML, or a table is not of the
            form; one line for each mistake.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise ConfigurationError(f"--prices {path}: {reason}") from None
    except ValueError as error:
        raise ConfigurationError(f"--prices {path}: not TOML: {error}") from None
    raw = json.dumps(data, default=str).encode()
    tables = parse_json(_adapter(), raw, what=str(path))
    return PriceList(models={name: table.prices for name, table in tables.items()})


@cache
def _adapter() -> TypeAdapter[dict[str, PriceTable]]:
    return TypeAdapter(dict[str, PriceTable])
