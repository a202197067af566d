"""What every prompt of a run shares."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias, get_args

from sutro_stream.values.sampling import SamplingParams
from sutro_stream.values.schema import OutputSchema

ResponseFormat: TypeAlias = Literal["json_schema", "json_object", "none"]
"""How an endpoint is told of the shape that answers must have."""

RESPONSE_FORMATS: tuple[ResponseFormat, ...] = get_args(ResponseFormat)


class PromptForm(StrEnum):
    """What the text of a prompt is."""

    TEXT = "text"
    """The user message, as it is."""
    CONTENT = "content"
    """The user message's content as JSON: an array of text and image parts."""
    MESSAGES = "messages"
    """All messages as JSON: an array of objects with role and content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A prompt and its answer, shown to the model before each prompt.

    Attributes:
        prompt: User message.
        answer: What the model is to have answered.
    """

    prompt: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Instructions:
    """The part of a request that is equal for all rows.

    Attributes:
        model: Model asked for; `None` leaves it to the engine, whose own explicit
            model wins over this one.
        system_prompt: System message, `None` for none.
        examples: Prompts and answers between it and the row's own prompt.
        form: What the texts of prompts are.
        schema: Shape the answer must have, `None` for free text.
        response_format: How the endpoint is told of the schema: in full, that JSON is
            wanted, or not at all. Answers are checked here in any case.
        strict: Whether an endpoint that is told the schema is to keep to it strictly.
        sampling: Sampling parameters.
    """

    model: str | None = None
    system_prompt: str | None = None
    examples: tuple[Example, ...] = ()
    form: PromptForm = PromptForm.TEXT
    schema: OutputSchema | None = None
    response_format: ResponseFormat = "json_schema"
    strict: bool = True
    sampling: SamplingParams = SamplingParams()
