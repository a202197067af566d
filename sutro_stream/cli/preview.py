"""A dry run: the first prompts and the counts of all, with nothing sent."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

import pyarrow.compute as pc

from sutro_stream.cli.messages import indented, printable
from sutro_stream.cli.summary import failure_lines
from sutro_stream.pipeline.pipeline import Pipeline
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.layout import Shape
from sutro_stream.values.outcomes import ErrorKind, OutcomeBatch
from sutro_stream.values.prompts import Prompt, PromptBatch

_CHARACTERS_PER_TOKEN = 4
_SHOWN_CHARACTERS = 2_000


@dataclass(slots=True, kw_only=True)
class Preview:
    """What a run would send.

    Attributes:
        show: Most prompts to keep for showing.
        rows: Rows of the input.
        refused: Rows that would not be sent, by reason.
        characters: Characters of all prompts.
        first: The first prompts.
    """

    show: int
    rows: int = 0
    refused: Counter[ErrorKind] = field(default_factory=Counter)
    characters: int = 0
    first: list[Prompt] = field(default_factory=list)

    @property
    def rows_to_send(self) -> int:
        """Rows that would be sent."""
        return self.rows - self.refused.total()

    def add(self, batch: PromptBatch) -> None:
        """Count a batch."""
        wanted = self.show - len(self.first)
        if wanted > 0:
            self.first += islice(batch.items(), wanted)
        self.rows += len(batch)
        self.refused.update(error.kind for error in batch.refused.values())
        self.characters += pc.sum(pc.utf8_length(batch.texts)).as_py() or 0


async def preview(
    prompts: Pipeline[Prompt], *, show: int, columns: tuple[str, ...] | None
) -> Preview:
    """Render all rows and count them.

    Args:
        prompts: A pipeline that ends in prompts.
        show: Most prompts to keep.
        columns: Input columns that the output would keep, `None` for all.

    Raises:
        ConfigurationError: The run itself would end in it, too.
    """
    seen = Preview(show=show)
    async with prompts.open(columns=columns) as results:
        _output_shape(results.shape).layout(columns)
        while (batch := await results.next_batch()) is not None:
            if isinstance(batch, PromptBatch):
                seen.add(batch)
    return seen


def _output_shape(shape: Shape) -> Shape:
    return replace(shape, kind=OutcomeBatch)


def described(
    seen: Preview, instructions: Instructions, *, engine: str, model: str
) -> str:
    """The preview as text."""
    heading = ["dry run: nothing was sent", f"engine: {engine}", f"model: {model}"]
    return "\n".join([*heading, *_lines(seen, instructions)])


def _lines(seen: Preview, instructions: Instructions) -> Iterator[str]:
    sampling = instructions.sampling.given()
    if sampling:
        yield f"sampling: {json.dumps(sampling)}"
    if instructions.system_prompt is not None:
        yield "system prompt:"
        yield _shown(instructions.system_prompt)
    if instructions.schema is not None:
        yield "output schema:"
        yield _shown(json.dumps(instructions.schema.definition, indent=2))
    for prompt in seen.first:
        yield from _prompt_lines(prompt)
    yield from _counts(seen, instructions)


def _prompt_lines(prompt: Prompt) -> Iterator[str]:
    number = f"row {prompt.index + 1:,}"
    if prompt.text is None:
        yield f"{number} is refused: {prompt.error}"
    else:
        yield f"prompt of {number}:"
        yield _shown(prompt.text)


def _counts(seen: Preview, instructions: Instructions) -> Iterator[str]:
    refused = seen.refused.total()
    yield f"{seen.rows:,} rows: {seen.rows_to_send:,} to send, {refused:,} refused"
    yield from failure_lines(seen.refused)
    shared = len(instructions.system_prompt or "")
    characters = seen.characters + seen.rows_to_send * shared
    tokens = math.ceil(characters / _CHARACTERS_PER_TOKEN)
    yield (
        f"about {tokens:,} input tokens (an estimate: {_CHARACTERS_PER_TOKEN} "
        "characters a token)"
    )


def _shown(text: str) -> str:
    rest = len(text) - _SHOWN_CHARACTERS
    if rest > 0:
        text = f"{text[:_SHOWN_CHARACTERS]} ... ({rest:,} more characters)"
    return printable(indented(text))
