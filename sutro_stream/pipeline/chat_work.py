"""What is done with one prompt: asked, and its answer held against what is wanted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import anyio

from sutro_stream.engines.engine import Responder
from sutro_stream.errors import EngineError
from sutro_stream.flow.backlog import Task
from sutro_stream.flow.meter import Meter
from sutro_stream.pipeline.images import image_count, text_length
from sutro_stream.pipeline.validation import (
    Answers,
    error_kind,
    validate,
    with_advice,
)
from sutro_stream.pipeline.vectors import VectorForm
from sutro_stream.values.instructions import Instructions, PromptForm
from sutro_stream.values.outcomes import Outcome, RowError
from sutro_stream.values.sampling import row_seed

_CHARACTERS_PER_TOKEN = 4
_USUAL_ANSWER_TOKENS = 100
# A picture of a camera, as most models that see count it.
_USUAL_IMAGE_TOKENS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatWork:
    """What the pool does with one prompt.

    Attributes:
        seed: Base of the rows' seeds, `None` when rows have none of their own.
        answers, advises, reasks: See `validate` and `with_advice`.
        vectors: Checks answers that are to be vectors, `None` for texts.
    """

    responder: Responder
    instructions: Instructions
    seed: int | None
    meter: Meter
    answers: Answers = "strict"
    advises: bool = True
    reasks: bool = False
    vectors: VectorForm | None = None

    @property
    def structured(self) -> bool:
        return self.instructions.schema is not None or self.vectors is not None

    def estimated_tokens(self, task: Task) -> tuple[int, int]:
        """See `Work`: from the prompt's length, and a usual answer."""
        written = self.instructions.sampling.answer_limit or _USUAL_ANSWER_TOKENS
        payload = task.payload
        read = len(payload) // _CHARACTERS_PER_TOKEN
        if self.instructions.form is PromptForm.CONTENT:
            read = text_length(payload) // _CHARACTERS_PER_TOKEN
            read += image_count(payload) * _USUAL_IMAGE_TOKENS
        return read, min(written, _USUAL_ANSWER_TOKENS)

    async def attempt(self, task: Task) -> Outcome:
        seed = self.seed
        if seed is not None:
            seed = row_seed(seed, task.batch.first_index + task.offset)
        started_s = anyio.current_time() if self.meter.is_timed else None
        try:
            answer = await self.responder.answer(task.payload, seed=seed)
        except EngineError as error:
            self._count(task, error.take_requests())
            raise
        if answer.requests > 1:
            self._count(task, answer.requests)
        attempts = task.attempts + task.extra_requests
        schema, answers = self.instructions.schema, self.answers
        outcome = validate(answer, schema, attempts=attempts, answers=answers)
        if outcome.error is not None and schema is not None and self.advises:
            outcome = with_advice(outcome, schema, answers=answers, reasks=self.reasks)
        if self.vectors is not None:
            outcome = self.vectors.checked(outcome)
        if started_s is not None:
            outcome = replace(outcome, seconds=anyio.current_time() - started_s)
        return outcome

    def failed(self, task: Task, error: EngineError) -> Outcome:
        reason = RowError(kind=error_kind(error), message=str(error))
        return Outcome(error=reason, attempts=task.attempts + task.extra_requests)

    def _count(self, task: Task, requests: int) -> None:
        # The pool has counted one; what engines send on top is no attempt of its.
        if requests > 1:
            task.extra_requests += requests - 1
            self.meter.extra_requests += requests - 1
