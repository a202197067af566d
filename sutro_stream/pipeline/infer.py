"""The stage that asks an engine: one request for each row, many at once."""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream

from sutro_stream.engines.engine import Engine, Responder, request_identity
from sutro_stream.engines.hedging import Hedge, hedged
from sutro_stream.engines.reask import ReaskResponder
from sutro_stream.engines.retry_truncated import RetryTruncatedResponder
from sutro_stream.errors import ConfigurationError
from sutro_stream.flow.gate import Gate
from sutro_stream.flow.meter import Meter
from sutro_stream.flow.outcome_store import Recording
from sutro_stream.flow.pool import Pool
from sutro_stream.flow.retry import RetryPolicy
from sutro_stream.flow.stage import Columns, RunContext
from sutro_stream.flow.window import WindowLimits
from sutro_stream.flow.work import PoolConfig
from sutro_stream.ledger.ledger import Ledger, OpenMode
from sutro_stream.pipeline.chat_work import ChatWork
from sutro_stream.pipeline.images import ImagesResponder
from sutro_stream.pipeline.limits import Limits
from sutro_stream.pipeline.recorded_step import UNRECORDED
from sutro_stream.pipeline.validation import (
    TRUNCATED,
    Answers,
    validate,
)
from sutro_stream.pipeline.vectors import VectorForm
from sutro_stream.values.fingerprint import fingerprint
from sutro_stream.values.instructions import (
    RESPONSE_FORMATS,
    Instructions,
    PromptForm,
    ResponseFormat,
)
from sutro_stream.values.layout import Shape
from sutro_stream.values.outcomes import (
    Answer,
    ErrorKind,
    OutcomeBatch,
    Result,
)
from sutro_stream.values.prices import Priced, usd_of_answer
from sutro_stream.values.prompts import PromptBatch
from sutro_stream.values.sampling import SamplingParams
from sutro_stream.values.schema import OutputSchema

# A straggler 40 times as slow as the median answer holds back about this many
# rows at the rates of one process (docs/design.md, the window).
_SPAN_ROWS = 16_384
_SPAN_BYTES = 128 << 20
_READY_ROWS_PER_SLOT = 4
_LEAST_READY_ROWS = 256
_SEED_LIMIT = 1 << 31

# Workers are begun as they are needed, so the most there can be costs nothing.
_MOST_AUTO = 1024

Concurrency: TypeAlias = int | Literal["auto"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Infer:
    """Send each prompt to an engine.

    Its attributes are the arguments of `pipeline.api.infer`, and described there.
    """

    engine: Engine
    concurrency: Concurrency | None = None
    ordered: bool = True
    timeout_s: float | None = 600.0
    patience_s: float | None = 600.0
    retry: RetryPolicy = RetryPolicy()
    window_rows: int | None = None
    seed_per_row: bool = False
    dedupe: bool = False
    limits: Limits = Limits()
    hedge: Hedge | None = None
    retry_truncated: int | None = None
    answers: Answers = "strict"
    reask: int = 0
    response_format: ResponseFormat | None = None
    strict: bool | None = None
    prices: Priced | None = None
    vectors: bool = False
    advises: bool = True

    def __post_init__(self) -> None:
        """Refuse numbers that make no sense."""
        if isinstance(self.concurrency, int) and self.concurrency < 1:
            raise ConfigurationError("concurrency must be at least 1")
        if isinstance(self.concurrency, str) and self.concurrency != "auto":
            raise ConfigurationError('concurrency takes a number, or "auto"')
        if self.limits.shared is not None and self.concurrency != "auto":
            raise ConfigurationError('limits.shared needs concurrency="auto"')
        if self.timeout_s is not None and not self.timeout_s > 0:
            raise ConfigurationError("timeout_s must be above 0, or None")
        if self.patience_s is not None and not self.patience_s >= 0:
            raise ConfigurationError("patience_s must be at least 0, or None")
        if self.window_rows is not None and self.window_rows < 1:
            raise ConfigurationError("window_rows must be at least 1")
        if self.retry_truncated is not None and self.retry_truncated < 1:
            raise ConfigurationError("retry_truncated must be at least 1, or None")
        if self.dedupe and self.seed_per_row:
            raise ConfigurationError(
                "dedupe and seed_per_row exclude each other: equal prompts with "
                "seeds of their own are different requests"
            )
        self._check_form_of_answers()

    def _check_form_of_answers(self) -> None:
        if self.answers not in get_args(Answers):
            raise ConfigurationError('answers must be "strict" or "extract"')
        if self.reask < 0:
            raise ConfigurationError("reask must be at least 0")
        if self.response_format not in (None, *RESPONSE_FORMATS):
            known = ", ".join(RESPONSE_FORMATS)
            raise ConfigurationError(f"response_format must be one of {known}, or None")

    @property
    def yields(self) -> type[Result]:
        return Result

    def columns_needed(self, wanted: Columns) -> Columns:
        return wanted

    def bind(self, shape: Shape, context: RunContext) -> InferStep:
        instructions = shape.instructions
        if shape.kind is not PromptBatch or instructions is None:
            raise ConfigurationError(
                "infer needs prompts: put render(function), prompts(column=...) or "
                "messages(column) before it"
            )
        instructions = self._told(instructions)
        seed = None
        if self.seed_per_row:
            base = instructions.sampling.seed
            seed = random.randrange(_SEED_LIMIT) if base is None else base
            sampling = replace(instructions.sampling, seed=None)
            instructions = replace(instructions, sampling=sampling)
        responder = self._responder(instructions, context.meter)
        self._price_answers(context.meter, responder.model)
        return InferStep(
            stage=self,
            shape=replace(shape, kind=OutcomeBatch, vectors=self.vectors),
            work=ChatWork(
                responder=responder,
                instructions=instructions,
                seed=seed,
                meter=context.meter,
                answers=self.answers,
                advises=self.advises,
                reasks=self.reask > 0,
                vectors=VectorForm() if self.vectors else None,
            ),
        )

    def _price_answers(self, meter: Meter, model: str | None) -> None:
        priced, budget = self.prices, self.limits.budget
        if priced is None and budget is not None:
            priced = budget.priced
        if priced is not None:
            meter.price = partial(usd_of_answer, priced, model)

    def _told(self, instructions: Instructions) -> Instructions:
        given = (self.answers, self.reask, self.response_format, self.strict)
        if instructions.schema is None and given != ("strict", 0, None, None):
            message = "answers, reask, response_format and strict need an output schema"
            raise ConfigurationError(message)
        if self.response_format is not None:
            instructions = replace(instructions, response_format=self.response_format)
        if self.strict is not None:
            instructions = replace(instructions, strict=self.strict)
        return instructions

    def _responder(self, instructions: Instructions, meter: Meter) -> Responder:
        responder, schema = self._single_responder(instructions), instructions.schema
        if self.reask and schema is not None:
            responder = self._reasking(responder, instructions, schema, meter)
        if instructions.form is PromptForm.CONTENT:
            responder = ImagesResponder(responder)
        return responder

    def _reasking(
        self,
        responder: Responder,
        instructions: Instructions,
        schema: OutputSchema,
        meter: Meter,
    ) -> Responder:
        def flaw(answer: Answer) -> str | None:
            error = validate(answer, schema, attempts=1, answers=self.answers).error
            is_invalid = error and error.kind is ErrorKind.INVALID_OUTPUT
            return error.message if error and is_invalid else None

        conversation = replace(instructions, form=PromptForm.MESSAGES)
        return ReaskResponder(
            responder,
            self._single_responder(conversation),
            form=instructions.form,
            times=self.reask,
            flaw=flaw,
            on_reask=meter.asked_again,
            on_lost=meter.paid,
        )

    def _single_responder(self, instructions: Instructions) -> Responder:
        responder = self.engine.bind(instructions)
        if self.retry_truncated is None:
            return responder
        sampling, schema = instructions.sampling, instructions.schema
        room = sampling.merged(SamplingParams(max_tokens=self.retry_truncated))
        return RetryTruncatedResponder(
            responder,
            self.engine.bind(replace(instructions, sampling=room)),
            lambda answer: validate(answer, schema, attempts=1).error is TRUNCATED,
        )

    def pool_config(self) -> PoolConfig:
        """How the pool of one run works."""
        workers = self._most_in_flight()
        return PoolConfig(
            workers=workers,
            timeout_s=self.timeout_s,
            patience_s=self.patience_s,
            window=WindowLimits(
                span_rows=self.window_rows or max(_SPAN_ROWS, 2 * workers),
                span_bytes=_SPAN_BYTES,
                ready_rows=max(_LEAST_READY_ROWS, _READY_ROWS_PER_SLOT * workers),
            ),
            retry=self.retry,
            ordered=self.ordered,
            dedupe=self.dedupe,
        )

    def gate(self, now_s: float, *, model: str | None) -> Gate:
        """What holds back the requests of a run that begins now."""
        # Endpoints limit each of their models apart.
        address = getattr(self.engine, "address", self.engine.name)
        endpoint = f"{address} {model or ''}".rstrip()
        is_auto = self.concurrency == "auto"
        return self.limits.gate(now_s, is_auto=is_auto, endpoint=endpoint, model=model)

    def _most_in_flight(self) -> int:
        most = self.concurrency or self.engine.default_concurrency
        most = _MOST_AUTO if most == "auto" else most
        return min(most, self.limits.in_flight or most)


@dataclass(frozen=True, slots=True, kw_only=True)
class InferStep:
    """One run of `Infer`."""

    stage: Infer
    shape: Shape
    work: ChatWork
    # An answer is paid for, and nobody else has it; what was sent and not answered
    # is lost.
    keeps_answers: bool = False
    is_waiting: bool = False

    @property
    def identity(self) -> Mapping[str, str]:
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
        if self.stage.vectors:
            parts["answers"] = "vectors"
        if asked.examples:
            shown = [[example.prompt, example.answer] for example in asked.examples]
            parts["examples"] = fingerprint(shown)
        if asked.form is not PromptForm.TEXT:
            parts["prompts"] = asked.form.value
        if schema is not None and asked.response_format != "json_schema":
            parts["response format"] = asked.response_format
        elif schema is not None and not asked.strict:
            parts["response format"] = "json_schema, not strict"
        return {**parts, **request_identity(self.work.responder)}

    @property
    def is_ordered(self) -> bool:
        return self.stage.ordered

    @property
    def needs_memory(self) -> bool:
        return self.stage.dedupe

    def beside(
        self, ledger: Ledger, path: Path, mode: OpenMode
    ) -> AbstractAsyncContextManager[None]:
        del ledger, path, mode
        return nullcontext()

    async def __call__(
        self,
        source: ObjectReceiveStream[Any],
        sink: ObjectSendStream[Any],
        recording: Recording = UNRECORDED,
    ) -> None:
        async with AsyncExitStack() as stack:
            work, hedge = self.work, self.stage.hedge
            if hedge is not None:
                responder = await stack.enter_async_context(
                    hedged(work.responder, hedge)
                )
                work = replace(work, responder=responder)
            gate = self.stage.gate(anyio.current_time(), model=work.responder.model)
            stack.callback(gate.close)
            pool = Pool(
                work,
                self.stage.pool_config(),
                self.work.meter,
                recording,
                gate=gate,
                rng=random.Random(),
            )
            await pool.run(source, sink)
