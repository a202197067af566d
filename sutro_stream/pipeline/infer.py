"""The stage that asks an engine: one request for each row, many at once."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream

from sutro_stream.engines.engine import Engine, Responder
from sutro_stream.engines.hedging import Hedge, hedged
from sutro_stream.errors import (
    ConfigurationError,
    EngineError,
    InputTooLongError,
    ProtocolError,
    RateLimitedError,
    RequestTimeoutError,
    ServiceError,
    TransportError,
)
from sutro_stream.flow.backlog import Task
from sutro_stream.flow.intake import Settled
from sutro_stream.flow.pool import Pool
from sutro_stream.flow.retry import RetryPolicy, is_retryable
from sutro_stream.flow.stage import Columns, RunContext
from sutro_stream.flow.window import WindowLimits
from sutro_stream.flow.work import Concluded, PoolConfig
from sutro_stream.ledger.identity import prompt_digest
from sutro_stream.pipeline.limits import Limits
from sutro_stream.values.fingerprint import fingerprint
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.layout import Shape
from sutro_stream.values.outcomes import (
    Answer,
    ErrorKind,
    Outcome,
    OutcomeBatch,
    Result,
    RowError,
)
from sutro_stream.values.prompts import PromptBatch
from sutro_stream.values.sampling import row_seed
from sutro_stream.values.schema import OutputSchema

# A straggler 40 times as slow as the median answer holds back about this many
# rows at the rates of one process (docs/design.md, the window).
_SPAN_ROWS = 16_384
_SPAN_BYTES = 128 << 20
_READY_ROWS_PER_SLOT = 4
_LEAST_READY_ROWS = 256
_SEED_LIMIT = 1 << 31
_CHARACTERS_PER_TOKEN = 4
_USUAL_ANSWER_TOKENS = 100

PromptTask: TypeAlias = Task[PromptBatch]


@dataclass(frozen=True, slots=True, kw_only=True)
class Infer:
    """Send each prompt to an engine.

    Attributes:
        engine: Who answers; must be open while the pipeline runs.
        concurrency: Requests in flight while rows remain, `None` for what suits
            the engine.
        ordered: Whether results leave in input order.
        timeout_s: Longest time of one attempt, `None` for no limit.
        retry: When a failed request is sent again.
        window_rows: Most rows between the oldest result not taken and the newest
            request, `None` for the default.
        seed_per_row: Whether every row gets a seed of its own, derived from the
            `seed` of the sampling parameters and the row's index.
        dedupe: Whether equal prompts are asked once.
        limits: What the run may ask for in a minute, and in all.
        hedge: When a late row is asked a second time, `None` for never.
    """

    engine: Engine
    concurrency: int | None = None
    ordered: bool = True
    timeout_s: float | None = 600.0
    retry: RetryPolicy = RetryPolicy()
    window_rows: int | None = None
    seed_per_row: bool = False
    dedupe: bool = False
    limits: Limits = Limits()
    hedge: Hedge | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that make no sense."""
        if self.concurrency is not None and self.concurrency < 1:
            raise ConfigurationError("concurrency must be at least 1")
        if self.timeout_s is not None and not self.timeout_s > 0:
            raise ConfigurationError("timeout_s must be above 0, or None")
        if self.window_rows is not None and self.window_rows < 1:
            raise ConfigurationError("window_rows must be at least 1")
        if self.dedupe and self.seed_per_row:
            raise ConfigurationError(
                "dedupe and seed_per_row exclude each other: equal prompts with "
                "seeds of their own are different requests"
            )

    @property
    def yields(self) -> type[Result]:
        """See `Stage`."""
        return Result

    def columns_needed(self, wanted: Columns) -> Columns:
        """See `Stage`."""
        return wanted

    def bind(self, shape: Shape, context: RunContext) -> InferStep:
        """See `Stage`."""
        instructions = shape.instructions
        if shape.kind is not PromptBatch or instructions is None:
            raise ConfigurationError(
                "infer needs prompts: put render(function) or prompts(column=...) "
                "before it"
            )
        seed = None
        if self.seed_per_row:
            base = instructions.sampling.seed
            seed = random.randrange(_SEED_LIMIT) if base is None else base
            sampling = replace(instructions.sampling, seed=None)
            instructions = replace(instructions, sampling=sampling)
        return InferStep(
            stage=self,
            shape=replace(shape, kind=OutcomeBatch),
            work=ChatWork(
                responder=self.engine.bind(instructions),
                instructions=instructions,
                seed=seed,
            ),
            context=context,
        )

    def pool_config(self) -> PoolConfig:
        """How the pool of one run works."""
        workers = self.concurrency or self.engine.default_concurrency
        return PoolConfig(
            workers=workers,
            timeout_s=self.timeout_s,
            window=WindowLimits(
                span_rows=self.window_rows or max(_SPAN_ROWS, 2 * workers),
                span_bytes=_SPAN_BYTES,
                ready_rows=max(_LEAST_READY_ROWS, _READY_ROWS_PER_SLOT * workers),
            ),
            retry=self.retry,
            ordered=self.ordered,
            dedupe=self.dedupe,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class InferStep:
    """One run of `Infer`."""

    stage: Infer
    shape: Shape
    work: ChatWork
    context: RunContext

    @property
    def identity(self) -> Mapping[str, str]:
        """See `Step`."""
        asked = self.work.instructions
        schema = asked.schema
        parts = {
            "model": self.work.responder.model or "the endpoint's own",
            "system prompt": fingerprint(asked.system_prompt),
            "output schema": fingerprint(schema and schema.definition),
            "sampling parameters": fingerprint(asked.sampling.given()),
        }
        if self.stage.seed_per_row:
            parts["seeds"] = "one for each row"
        return parts

    async def __call__(
        self, source: ObjectReceiveStream[Any], sink: ObjectSendStream[Any]
    ) -> None:
        """See `Step`."""
        async with AsyncExitStack() as stack:
            work, hedge = self.work, self.stage.hedge
            if hedge is not None:
                responder = await stack.enter_async_context(
                    hedged(work.responder, hedge)
                )
                work = replace(work, responder=responder)
            pool = Pool[PromptBatch, OutcomeBatch](
                work,
                self.stage.pool_config(),
                self.context,
                gate=self.stage.limits.gate(anyio.current_time()),
                rng=random.Random(),
            )
            await pool.run(source, sink)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatWork:
    """What the pool does with one prompt.

    Attributes:
        responder: Sends the requests.
        instructions: What they share.
        seed: Base of the rows' seeds, `None` when rows have none of their own.
    """

    responder: Responder
    instructions: Instructions
    seed: int | None

    def first_index(self, batch: PromptBatch) -> int:
        """See `Content`."""
        return batch.first_index

    def payloads(self, batch: PromptBatch) -> list[Any]:
        """See `Content`: the prompts, and the outcomes of refused rows."""
        payloads: list[Any] = batch.texts.to_pylist()
        for offset, error in batch.refused.items():
            payloads[offset] = Settled(outcome=Outcome(error=error))
        return payloads

    def digest(self, payload: object) -> int:
        """See `Content`."""
        return prompt_digest(str(payload))

    def size_bytes(self, batch: PromptBatch) -> int:
        """See `Work`."""
        return int(batch.rows.records.nbytes + batch.texts.nbytes)

    def estimated_tokens(self, task: PromptTask) -> int:
        """See `Work`: from the prompt's length, and a usual answer."""
        written = self.instructions.sampling.max_tokens or _USUAL_ANSWER_TOKENS
        return len(task.payload) // _CHARACTERS_PER_TOKEN + min(
            written, _USUAL_ANSWER_TOKENS
        )

    async def attempt(self, task: PromptTask) -> Outcome:
        """See `Work`."""
        seed = self.seed
        if seed is not None:
            seed = row_seed(seed, task.batch.first_index + task.offset)
        answer = await self.responder.answer(task.payload, seed=seed)
        return judge(answer, self.instructions.schema, attempts=task.attempts)

    def failed(self, task: PromptTask, error: EngineError) -> Outcome:
        """See `Work`."""
        reason = RowError(kind=error_kind(error), message=str(error))
        return Outcome(error=reason, attempts=task.attempts)

    def collect(
        self, concluded: Sequence[Concluded[PromptBatch]]
    ) -> Sequence[OutcomeBatch]:
        """See `Work`: one batch for each run of rows of the same prompts."""
        batches = []
        start = 0
        for end in range(1, len(concluded) + 1):
            batch = concluded[start].batch
            if end < len(concluded) and concluded[end].batch is batch:
                continue
            rows = concluded[start:end]
            batches.append(
                OutcomeBatch(
                    prompts=batch,
                    offsets=_offsets([row.offset for row in rows]),
                    outcomes=[row.outcome for row in rows],
                    structured=self.instructions.schema is not None,
                )
            )
            start = end
        return batches


def judge(answer: Answer, schema: OutputSchema | None, *, attempts: int) -> Outcome:
    """Whether an answer is one: complete, not withheld, and of the right form.

    The answer itself is kept unchanged in any case.
    """
    value, error = None, None
    if answer.refusal is not None or answer.finish_reason == "content_filter":
        error = RowError(
            kind=ErrorKind.FILTERED, message="the endpoint withheld the answer"
        )
    elif schema is not None:
        value, error = _conforming(answer, schema)
    elif not answer.text and answer.finish_reason == "length":
        error = _TRUNCATED
    return Outcome(answer=answer, value=value, error=error, attempts=attempts)


_TRUNCATED = RowError(
    kind=ErrorKind.TRUNCATED,
    message="the answer was cut off at the token limit; allow more max_tokens",
)


def _conforming(answer: Answer, schema: OutputSchema) -> tuple[Any, RowError | None]:
    value, reason, field = schema.check(answer.text)
    # A number or a word may be cut and still be valid; brackets cannot.
    cut = answer.finish_reason == "length" and not isinstance(value, (dict, list))
    if cut:
        return None, _TRUNCATED
    if reason is not None:
        kind = ErrorKind.INVALID_OUTPUT
        return None, RowError(kind=kind, message=reason, field=field)
    return value, None


def error_kind(error: EngineError) -> ErrorKind:
    """How a row's failure is called in results."""
    if isinstance(error, InputTooLongError):
        return ErrorKind.INPUT_TOO_LONG
    if isinstance(error, ProtocolError):
        return ErrorKind.BAD_REPLY
    if isinstance(error, RequestTimeoutError):
        return ErrorKind.TIMEOUT
    if isinstance(error, TransportError):
        return ErrorKind.UNREACHABLE
    if isinstance(error, RateLimitedError):
        return ErrorKind.RATE_LIMITED
    if isinstance(error, ServiceError) and not is_retryable(error):
        return ErrorKind.REJECTED
    return ErrorKind.SERVER_ERROR


def _offsets(offsets: list[int]) -> Sequence[int]:
    first, size = offsets[0], len(offsets)
    if offsets[-1] - first == size - 1 and offsets == list(range(first, first + size)):
        return range(first, first + size)
    return offsets
