"""What endpoints call the parameters of a request, in one table of dialects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sutro_stream.errors import ConfigurationError
from sutro_stream.values.endpoint import Dialect
from sutro_stream.values.sampling import SamplingParams


def _same(names: str) -> dict[str, str]:
    return {name: name for name in names.split()}


@dataclass(frozen=True, slots=True, kw_only=True)
class DialectTable:
    """What one kind of endpoint knows.

    Attributes:
        names: Its name for each parameter that it knows, after a dot within an object.
        has_logprobs: Whether it tells probabilities of tokens.
        least_alternatives: The fewest alternatives it has to be asked for, so that it
            tells any probability.
        has_stream_options: Whether usage of a stream is to be asked for.
        key_header: Where a key goes that is no token of an identity provider, `None`
            for `Authorization`.
    """

    names: Mapping[str, str]
    has_logprobs: bool = True
    least_alternatives: int = 0
    has_stream_options: bool = True
    key_header: str | None = None


# What all know.
_COMMON = _same("temperature top_p max_tokens stop seed")
_PENALTIES = _same("presence_penalty frequency_penalty")
_OPENAI = (
    _COMMON
    | _PENALTIES
    | _same("max_completion_tokens logit_bias reasoning_effort verbosity service_tier")
)
_SERVED = _COMMON | _PENALTIES | _same("max_completion_tokens logit_bias")
_OPEN_MODELS = _same(
    "top_k min_p repetition_penalty chat_template_kwargs reasoning_effort"
)
_VLLM = (
    _SERVED
    | _OPEN_MODELS
    | _same(
        "stop_token_ids bad_words include_stop_str_in_output ignore_eos min_tokens "
        "prompt_logprobs allowed_token_ids skip_special_tokens "
        "spaces_between_special_tokens truncate_prompt_tokens"
    )
)
_SGLANG = (
    _SERVED
    | _OPEN_MODELS
    | _same("stop_token_ids ignore_eos min_tokens skip_special_tokens")
    | {"include_stop_str_in_output": "no_stop_trim"}
)
_LLAMA_CPP = (
    _SERVED
    | _same("top_k min_p ignore_eos chat_template_kwargs")
    | {
        # Older servers know this name only.
        "max_completion_tokens": "max_tokens",
        "repetition_penalty": "repeat_penalty",
        "reasoning_effort": "chat_template_kwargs.reasoning_effort",
    }
)

TABLE: Mapping[Dialect, DialectTable] = {
    "openai": DialectTable(names=_OPENAI),
    # Keys have a header of their own; tokens of Entra ID come as everywhere.
    "azure": DialectTable(names=_OPENAI, key_header="api-key"),
    "vllm": DialectTable(names=_VLLM),
    "sglang": DialectTable(names=_SGLANG),
    "llama.cpp": DialectTable(names=_LLAMA_CPP, least_alternatives=1),
    "ollama": DialectTable(
        names=_COMMON
        | _PENALTIES
        | _same("reasoning_effort")
        | {"max_completion_tokens": "max_tokens"}
    ),
    "openrouter": DialectTable(
        names=_SERVED
        | _same("top_k min_p repetition_penalty verbosity service_tier")
        | {"reasoning_effort": "reasoning.effort"}
    ),
    "gemini": DialectTable(
        names=_COMMON | _PENALTIES | _same("max_completion_tokens reasoning_effort"),
        has_logprobs=False,
    ),
    "mistral": DialectTable(
        names=_COMMON
        | _PENALTIES
        | _same("reasoning_effort")
        | {"seed": "random_seed", "max_completion_tokens": "max_tokens"},
        has_logprobs=False,
        # It tells usage unasked, and refuses fields that it does not know.
        has_stream_options=False,
    ),
    "groq": DialectTable(
        names=_COMMON
        | _PENALTIES
        | _same("max_completion_tokens reasoning_effort service_tier"),
        has_logprobs=False,
    ),
}
"""By each provider's own reference of the request."""


def request_fields(params: SamplingParams, dialect: Dialect) -> dict[str, Any]:
    """The parameters as fields of a chat completion request.

    Raises:
        ConfigurationError: The endpoint has no such parameter.
    """
    table, given = TABLE[dialect], params.given()
    if given.pop("n", 1) != 1:
        raise ConfigurationError(
            "sampling parameter n: one answer for each row is supported; "
            "repeat the rows to ask several times"
        )
    fields: dict[str, Any] = {}
    alternatives = given.pop("logprobs", None) if table.has_logprobs else None
    if alternatives is not None:
        fields["logprobs"] = True
        alternatives = max(table.least_alternatives, alternatives)
        if alternatives:
            fields["top_logprobs"] = alternatives
    unknown = sorted(set(given) - set(table.names))
    if unknown:
        raise ConfigurationError(
            f"sampling parameter {', '.join(unknown)}: not known to endpoints of the "
            f"{dialect!r} dialect; choose another one, or send it as it is with "
            "--extra-body (extra_body)"
        )
    # What goes into an object comes after that object.
    for name in sorted(given, key=lambda name: table.names[name].count(".")):
        outer, _, inner = table.names[name].rpartition(".")
        if outer:
            fields[outer] = {**fields.get(outer, {}), inner: given[name]}
        else:
            fields[inner] = given[name]
    return fields


def seed_field(dialect: Dialect) -> str:
    """Name of the field of a row's seed."""
    return TABLE[dialect].names["seed"]
