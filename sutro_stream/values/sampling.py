"""Sampling parameters: the names and ranges of vLLM, which the field follows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, TypeAdapter

from sutro_stream.errors import ConfigurationError
from sutro_stream.values.parsing import parse_json

_Probability = Annotated[float, Field(ge=0, le=1)]
_Penalty = Annotated[float, Field(ge=-2, le=2)]
_Count = Annotated[int, Field(ge=0)]
_Positive = Annotated[int, Field(ge=1)]
_Word = Annotated[str, Field(min_length=1)]

_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB
_MASK_64 = (1 << 64) - 1
_SEED_BITS = 31


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How the model picks tokens; `None` leaves a choice to the engine.

    Attributes:
        n: Answers for each prompt; this version supports 1 only.
        temperature: 0 picks the likeliest token each time.
        top_p: Nucleus sampling, above 0 and at most 1.
        top_k: Number of candidates; 0 and -1 mean all.
        min_p: Least probability of a candidate, relative to the likeliest.
        presence_penalty: -2 to 2.
        frequency_penalty: -2 to 2.
        repetition_penalty: Above 0; 1 is neutral.
        seed: Start of the random numbers.
        stop: Text that ends the answer, one or several.
        stop_token_ids: Tokens that end the answer.
        bad_words: Words never to be written.
        include_stop_str_in_output: Whether the answer keeps the stop text.
        ignore_eos: Whether to go on after the end-of-text token.
        max_tokens: Most tokens of an answer.
        max_completion_tokens: The same, with the thinking, under the name that
            OpenAI's later models know.
        min_tokens: Fewest tokens of an answer.
        logprobs: Alternatives to report for each token; 0 reports the chosen only.
        prompt_logprobs: The same for the prompt's tokens.
        logit_bias: Added to tokens' logits, by token id.
        allowed_token_ids: The only tokens that may be written.
        skip_special_tokens: Whether special tokens are left out of the text.
        spaces_between_special_tokens: Whether they are spaced.
        truncate_prompt_tokens: Keep only this many last tokens of the prompt.
        reasoning_effort: How long a reasoning model thinks, in the endpoint's words.
        verbosity: How much it writes, in the endpoint's words.
        service_tier: Which of the endpoint's services answers, in its words.
        chat_template_kwargs: What the model's chat template is told.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False
    )

    n: _Positive | None = None
    temperature: Annotated[float, Field(ge=0)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    min_p: _Probability | None = None
    presence_penalty: _Penalty | None = None
    frequency_penalty: _Penalty | None = None
    repetition_penalty: Annotated[float, Field(gt=0)] | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    bad_words: list[str] | None = None
    include_stop_str_in_output: bool | None = None
    ignore_eos: bool | None = None
    max_tokens: _Positive | None = None
    max_completion_tokens: _Positive | None = None
    min_tokens: _Count | None = None
    logprobs: _Count | None = None
    prompt_logprobs: _Count | None = None
    logit_bias: dict[str, float] | None = None
    allowed_token_ids: list[int] | None = None
    skip_special_tokens: bool | None = None
    spaces_between_special_tokens: bool | None = None
    truncate_prompt_tokens: _Positive | None = None
    reasoning_effort: _Word | None = None
    verbosity: _Word | None = None
    service_tier: _Word | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    @classmethod
    def parse(
        cls, data: Mapping[str, Any], *, what: str = "sampling_params"
    ) -> SamplingParams:
        """Check names, types and ranges.

        Raises:
            ConfigurationError: A name is unknown or a value out of range.
        """
        try:
            raw = json.dumps(dict(data)).encode()
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"{what}: not JSON values: {error}") from None
        try:
            params = parse_json(_adapter(), raw, what=what)
        except ConfigurationError as error:
            if set(data) <= set(cls.__dataclass_fields__):
                raise
            raise ConfigurationError(
                f"{error}; a field of an endpoint's own goes into its extra_body "
                "(--extra-body)"
            ) from None
        low, high = params.min_tokens, params.max_tokens
        if low is not None and high is not None and low > high:
            message = f"{what}: min_tokens {low} is above max_tokens {high}"
            raise ConfigurationError(message)
        return params

    def given(self) -> dict[str, Any]:
        """The parameters that are set, by name."""
        return {
            field.name: value
            for field in fields(self)
            if (value := getattr(self, field.name)) is not None
        }

    @property
    def answer_limit(self) -> int | None:
        """Most tokens of an answer, under whichever name; `None` without a limit."""
        return self.max_tokens or self.max_completion_tokens

    def merged(self, over: SamplingParams) -> SamplingParams:
        """These parameters with those set in `over` on top."""
        below = self
        if over.answer_limit is not None:
            # Two names for one limit: endpoints refuse both together.
            below = replace(self, max_tokens=None, max_completion_tokens=None)
        return replace(below, **over.given())


@cache
def _adapter() -> TypeAdapter[SamplingParams]:
    return TypeAdapter(SamplingParams)


def row_seed(base: int, index: int) -> int:
    """A seed for one row: a pure function of the run's seed and the row's index.

    Returns:
        0 to 2**31 - 1, which every known engine accepts.
    """
    mixed = (base + (index + 1) * 0x9E3779B97F4A7C15) & _MASK_64
    mixed = ((mixed ^ (mixed >> 30)) * _MIX_1) & _MASK_64
    mixed = ((mixed ^ (mixed >> 27)) * _MIX_2) & _MASK_64
    return (mixed ^ (mixed >> 31)) >> (64 - _SEED_BITS)
