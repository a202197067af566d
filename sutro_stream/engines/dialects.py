"""Which sampling parameters an endpoint understands, and under which names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from sutro_stream.errors import ConfigurationError
from sutro_stream.values.sampling import SamplingParams

Dialect = Literal["openai", "vllm", "llama.cpp"]

_OPENAI = {
    name: name
    for name in (
        "temperature",
        "top_p",
        "max_tokens",
        "max_completion_tokens",
        "stop",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
    )
}
_VLLM = _OPENAI | {
    name: name
    for name in (
        "top_k",
        "min_p",
        "repetition_penalty",
        "stop_token_ids",
        "bad_words",
        "include_stop_str_in_output",
        "ignore_eos",
        "min_tokens",
        "prompt_logprobs",
        "allowed_token_ids",
        "skip_special_tokens",
        "spaces_between_special_tokens",
        "truncate_prompt_tokens",
    )
}
_LLAMA_CPP = _OPENAI | {
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repeat_penalty",
    "ignore_eos": "ignore_eos",
}
_NAMES: Mapping[Dialect, Mapping[str, str]] = {
    "openai": _OPENAI,
    "vllm": _VLLM,
    "llama.cpp": _LLAMA_CPP,
}
DIALECTS = tuple(_NAMES)


def request_fields(params: SamplingParams, dialect: Dialect) -> dict[str, Any]:
    """The parameters as fields of a chat completion request.

    Raises:
        ConfigurationError: The endpoint has no such parameter.
    """
    given = params.given()
    if given.pop("n", 1) != 1:
        raise ConfigurationError(
            "sampling parameter n: one answer for each row is supported; "
            "repeat the rows to ask several times"
        )
    fields: dict[str, Any] = {}
    alternatives = given.pop("logprobs", None)
    if alternatives is not None:
        fields["logprobs"] = True
        if dialect == "llama.cpp":
            # It reports nothing at all without alternatives.
            alternatives = max(1, alternatives)
        if alternatives:
            fields["top_logprobs"] = alternatives
    names = _NAMES[dialect]
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise ConfigurationError(
            f"sampling parameter {', '.join(unknown)}: "
            f"not known to endpoints of the {dialect!r} dialect"
        )
    return fields | {names[name]: value for name, value in given.items()}
