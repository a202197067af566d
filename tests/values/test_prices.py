"""What tokens cost."""

from __future__ import annotations

from pathlib import Path

import pytest

import sutro_stream as ss
from sutro_stream.settings.price_file import read_prices
from sutro_stream.values.prices import prices_of

PRICES = ss.Prices(input=2.0, output=8.0, cached_input=0.5)


def test_cached_tokens_have_their_own_price() -> None:
    """They are among those read."""
    usd = PRICES.usd(
        input_tokens=1_000_000, output_tokens=500_000, cached_tokens=400_000
    )
    assert usd == pytest.approx(0.6 * 2 + 0.4 * 0.5 + 0.5 * 8)


def test_cached_tokens_cost_as_much_as_others_without_a_price() -> None:
    """And no more than were read can have been cached."""
    prices = ss.Prices(input=2.0, output=0.0)
    assert prices.usd(input_tokens=10, output_tokens=0, cached_tokens=99) == 2e-5


def test_no_price_is_negative() -> None:
    """Nor not a number."""
    for price in (-1.0, float("nan")):
        with pytest.raises(ss.ConfigurationError, match="negative"):
            ss.Prices(input=1.0, output=price)


def test_a_list_knows_a_model_by_either_name() -> None:
    """By the one asked for before the one that answers."""
    other = ss.Prices(input=1.0, output=1.0)
    known = ss.PriceList(models={"m": PRICES, "m-2026": other})
    assert prices_of(known, "m", "m-2026") is PRICES
    assert prices_of(known, None, "m-2026") is other
    assert prices_of(known, "x", None) is None


def test_a_file_has_a_table_for_each_model(tmp_path: Path) -> None:
    """Names with dots are quoted, as TOML wants it."""
    path = tmp_path / "prices.toml"
    path.write_text('["m-1.5"]\ninput = 2\noutput = 8\ncached_input = 0.5\n')
    assert read_prices(path) == ss.PriceList(models={"m-1.5": PRICES})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[m]\noutput = 1", "m.input"),
        ("[m]\ninput = -1", "m.input"),
        ("[m]\ninput = 1\ninputs = 2", "m.inputs"),
        ("m = [", "TOML"),
    ],
)
def test_mistakes_in_a_file_are_told_by_their_place(
    tmp_path: Path, text: str, told: str
) -> None:
    """A file that is not there as well."""
    path = tmp_path / "prices.toml"
    with pytest.raises(ss.ConfigurationError, match=r"prices\.toml"):
        read_prices(path)
    path.write_text(text)
    with pytest.raises(ss.ConfigurationError, match=told):
        read_prices(path)
