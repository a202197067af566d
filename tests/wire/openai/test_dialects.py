"""What endpoints call the parameters of a request."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from sutro_stream.errors import ConfigurationError
from sutro_stream.values.endpoint import DIALECTS, Dialect
from sutro_stream.values.sampling import SamplingParams
from sutro_stream.wire.openai.dialects import TABLE, request_fields, seed_field


def test_every_dialect_has_a_table() -> None:
    """And no other has."""
    assert set(TABLE) == set(DIALECTS) == set(get_args(Dialect))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_all_know_is_known(dialect: Dialect) -> None:
    """Under its own name, except for seeds and the limit of an answer."""
    fields = request_fields(
        SamplingParams(temperature=0.5, top_p=0.9, max_tokens=7, stop=["a"], seed=1),
        dialect,
    )
    seed = fields.pop("random_seed" if dialect == "mistral" else "seed")
    assert seed == 1
    assert fields == {"temperature": 0.5, "top_p": 0.9, "max_tokens": 7, "stop": ["a"]}
    assert seed_field(dialect) == ("random_seed" if dialect == "mistral" else "seed")


@pytest.mark.parametrize(
    ("dialect", "params", "fields"),
    [
        (
            "openai",
            {"max_completion_tokens": 9, "reasoning_effort": "low"},
            {"max_completion_tokens": 9, "reasoning_effort": "low"},
        ),
        (
            "azure",
            {"verbosity": "low", "service_tier": "flex"},
            {"verbosity": "low", "service_tier": "flex"},
        ),
        (
            "vllm",
            {"chat_template_kwargs": {"enable_thinking": False}, "top_k": 5},
            {"chat_template_kwargs": {"enable_thinking": False}, "top_k": 5},
        ),
        ("sglang", {"include_stop_str_in_output": True}, {"no_stop_trim": True}),
        (
            "llama.cpp",
            {
                "repetition_penalty": 1.1,
                "reasoning_effort": "high",
                "max_completion_tokens": 9,
                "chat_template_kwargs": {"a": 1},
            },
            {
                "repeat_penalty": 1.1,
                "max_tokens": 9,
                "chat_template_kwargs": {"a": 1, "reasoning_effort": "high"},
            },
        ),
        ("ollama", {"max_completion_tokens": 9}, {"max_tokens": 9}),
        ("openrouter", {"reasoning_effort": "high"}, {"reasoning": {"effort": "high"}}),
        ("gemini", {"reasoning_effort": "none"}, {"reasoning_effort": "none"}),
        ("mistral", {"max_completion_tokens": 9}, {"max_tokens": 9}),
        ("groq", {"service_tier": "flex"}, {"service_tier": "flex"}),
        ("openai", {"logprobs": 0}, {"logprobs": True}),
        ("llama.cpp", {"logprobs": 0}, {"logprobs": True, "top_logprobs": 1}),
    ],
)
def test_a_dialect_has_its_own_names(
    dialect: Dialect, params: dict[str, Any], fields: dict[str, Any]
) -> None:
    """Of the parameters that go by several."""
    assert request_fields(SamplingParams.parse(params), dialect) == fields


@pytest.mark.parametrize(
    ("dialect", "params"),
    [
        ("openai", {"top_k": 5}),
        ("azure", {"min_p": 0.1}),
        ("groq", {"logprobs": 1}),
        ("mistral", {"chat_template_kwargs": {"a": 1}}),
        ("gemini", {"logit_bias": {"5": 1}}),
    ],
)
def test_an_unknown_parameter_is_refused_before_anything_is_sent(
    dialect: Dialect, params: dict[str, Any]
) -> None:
    """With its name, the dialect, and the option that sends it all the same."""
    with pytest.raises(ConfigurationError) as caught:
        request_fields(SamplingParams.parse(params), dialect)
    for told in (*params, repr(dialect), "--extra-body"):
        assert told in str(caught.value)


def test_an_unknown_name_is_told_of_extra_fields() -> None:
    """Misspelt it may be as well."""
    with pytest.raises(ConfigurationError, match="--extra-body"):
        SamplingParams.parse({"thinking": True})
