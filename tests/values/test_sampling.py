"""Sampling parameters and per-row seeds."""

from typing import Any

import pytest

from sutro_stream.errors import ConfigurationError
from sutro_stream.values.sampling import SamplingParams, row_seed


def test_only_what_is_set_is_given() -> None:
    """What is not said is left to the engine; zero and false are said."""
    params = SamplingParams.parse(
        {"temperature": 0, "ignore_eos": False, "stop": ["a"], "seed": None}
    )
    assert params.given() == {"temperature": 0, "ignore_eos": False, "stop": ["a"]}
    assert SamplingParams().given() == {}


def test_merging_keeps_what_is_not_overridden() -> None:
    """The later wins, name by name."""
    base = SamplingParams(temperature=0.5, top_k=3)
    assert base.merged(SamplingParams(temperature=0.0, seed=1)) == SamplingParams(
        temperature=0.0, top_k=3, seed=1
    )


@pytest.mark.parametrize(
    ("data", "part"),
    [
        ({"temperatur": 1}, "temperatur is not a known field"),
        (
            {"temperature": -1},
            "temperature: input should be greater than or",
        ),
        ({"temperature": "0.5"}, "temperature: input should be a valid number"),
        ({"temperature": float("nan")}, "temperature: input should be a finite number"),
        ({"temperature": True}, "temperature: input should be a valid number"),
        ({"top_p": 0}, "top_p: input should be greater than 0"),
        ({"top_p": 1.1}, "top_p: input should be less than or equal to 1"),
        ({"seed": 1.5}, "seed: input should be a valid integer"),
        ({"max_tokens": 0}, "max_tokens: input should be greater than or equal to 1"),
        ({"min_tokens": 5, "max_tokens": 4}, "min_tokens 5 is above max_tokens 4"),
        ({"presence_penalty": 3}, "presence_penalty: input should be less than"),
        ({"stop": 3}, "stop: input should be a valid string, or input should be"),
        ({"stop": ["a", 3]}, "stop[1]: input should be a valid string"),
        ({"logit_bias": {"5": "x"}}, "logit_bias.5: input should be a valid number"),
        ({"stop": object()}, "not JSON values"),
        ({1: 2}, "1 is not a known field"),
    ],
)
def test_a_wrong_parameter_is_named(data: dict[Any, Any], part: str) -> None:
    """Name, and what it should be."""
    with pytest.raises(ConfigurationError) as caught:
        SamplingParams.parse(data, what="--sampling")
    assert str(caught.value).startswith("--sampling:")
    assert part in str(caught.value)


def test_a_row_has_the_same_seed_in_every_run() -> None:
    """These numbers are a promise: a change would make runs irreproducible."""
    assert [row_seed(7, index) for index in range(3)] == [
        837153010,
        36052587,
        1934368832,
    ]
    assert row_seed(-1, 0) == row_seed(2**64 - 1, 0)


def test_rows_have_seeds_of_their_own() -> None:
    """Neighbouring rows and neighbouring bases do not share seeds."""
    seeds = {row_seed(base, index) for base in range(10) for index in range(1000)}
    assert len(seeds) > 9_990
    assert all(0 <= seed < 2**31 for seed in seeds)
