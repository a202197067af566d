"""One run over a deployment: lots in, several jobs at once, outcomes out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream

from sutro_stream.errors import WorkChangedError
from sutro_stream.flow.stage import RunContext
from sutro_stream.pipeline.judging import judge
from sutro_stream.pipeline.lot_jobs import LotAnswers, LotJobs
from sutro_stream.pipeline.lots import Cutter, Lot, Part, row_digest
from sutro_stream.pipeline.row_json import RowJson
from sutro_stream.values.outcomes import (
    Answer,
    ErrorKind,
    Outcome,
    OutcomeBatch,
    RowError,
)
from sutro_stream.values.schema import OutputSchema
from sutro_stream.wire.result_columns import read_output

_NO_ANSWER = RowError(
    kind=ErrorKind.NO_ANSWER,
    message="the deployment has no answer for this row, and gives no reason",
)
_ONLY_THOUGHT = RowError(
    kind=ErrorKind.TRUNCATED,
    message="the model came to no answer within its tokens; allow more max_tokens",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionConfig:
    """How a run works.

    Attributes:
        concurrency: Jobs in flight while rows remain.
        ordered: Whether outcomes leave in the order of the rows.
        schema: What answers must meet, `None` for text.
    """

    concurrency: int
    ordered: bool
    schema: OutputSchema | None


class SubmissionRun:
    """Cuts what arrives, has each lot answered, and sends on what came of it.

    Invariants: a row that came in goes out exactly once, and not before it is
    recorded; no more lots are in memory than can be in flight, and as many again
    where they wait for their turn.
    """

    def __init__(
        self,
        config: SubmissionConfig,
        reader: RowJson,
        cutter: Cutter,
        jobs: LotJobs,
        context: RunContext,
    ) -> None:
        self._schema = config.schema
        self._reader = reader
        self._cutter = cutter
        self._jobs = jobs
        self._meter = context.meter
        self._meter.concurrency = config.concurrency
        self._recorder = context.recorder
        self._spool = context.spool
        ordered = config.ordered and not context.is_ordered_elsewhere
        live = 2 * config.concurrency if ordered else config.concurrency + 1
        self._live = anyio.Semaphore(live)
        self._turns = _Turns(ordered=ordered)

    async def run(
        self, source: ObjectReceiveStream[Any], sink: ObjectSendStream[Any]
    ) -> None:
        """Work off `source` into `sink`; closes both.

        Raises:
            ExceptionGroup: Of the errors that end the run.
        """
        async with source, sink, anyio.create_task_group() as tasks:
            async for lot in self._lots(source):
                await self._live.acquire()
                tasks.start_soon(self._work_off, lot, sink)

    async def _lots(self, source: ObjectReceiveStream[Any]) -> AsyncIterator[Lot]:
        async for batch in source:
            for prompts, rows in self._reader.read(batch):
                if self._spool is not None:
                    await self._spool(prompts)
                for lot in self._cutter.add(prompts, rows):
                    yield lot
        last = self._cutter.finish()
        if last is not None:
            yield last

    async def _work_off(self, lot: Lot, sink: ObjectSendStream[Any]) -> None:
        known = await self._known(lot)
        rows = lot.rows()
        wanted = [
            offset
            for offset, row in enumerate(rows)
            if row is not None and offset not in known
        ]
        async with AsyncExitStack() as stack:
            answers = None
            if wanted:
                asking = self._jobs.answers(lot, wanted)
                answers = await stack.enter_async_context(asking)
            async with self._turns.turn(lot.number):
                await self._emit(lot, known, answers, sink)
        self._live.release()

    async def _known(self, lot: Lot) -> Mapping[int, Outcome]:
        """What earlier runs have recorded, by offset within the lot."""
        if self._recorder is None:
            return {}
        first = lot.first_index
        found = await self._recorder.known(first, len(lot))
        if not found:
            return {}
        rows = lot.rows()
        for index, known in found.items():
            row = rows[index - first]
            if row is not None and row_digest(row) != known.digest:
                raise WorkChangedError(
                    f"row {index} is not the one that the ledger has the answer of: "
                    "the input changed; restore it, or start afresh (--restart)",
                    differences=("rows",),
                )
        return {index - first: known.outcome for index, known in found.items()}

    async def _emit(
        self,
        lot: Lot,
        known: Mapping[int, Outcome],
        answers: LotAnswers | None,
        sink: ObjectSendStream[Any],
    ) -> None:
        start = 0
        for part in lot.parts:
            outcomes = await self._concluded(part, start, known, answers)
            start += len(part.offsets)
            if start == len(lot):
                self._jobs.done(lot)
            await sink.send(
                OutcomeBatch(
                    prompts=part.prompts,
                    offsets=part.offsets,
                    outcomes=outcomes,
                    structured=self._schema is not None,
                )
            )

    async def _concluded(
        self,
        part: Part,
        start: int,
        known: Mapping[int, Outcome],
        answers: LotAnswers | None,
    ) -> Sequence[Outcome]:
        """The outcomes of a part, recorded.

        Args:
            part: Some rows.
            start: Offset of the first within the lot.
            known: Outcomes of earlier runs, by offset within the lot.
            answers: Of this one, `None` when nothing was asked.
        """
        new = {} if answers is None else await self._answered(part, start, answers)
        outcomes = []
        for offset, row in enumerate(part.rows, start):
            outcome = known.get(offset)
            if outcome is None:
                refused = part.prompts.refused
                outcome = new.get(offset) or Outcome(
                    error=refused[part.offsets[offset - start]]
                )
                self._record(part.first_index + offset - start, row, outcome)
            else:
                self._meter.kept += 1
            self._meter.concluded(outcome, is_paid=False)
            outcomes.append(outcome)
        return outcomes

    def _record(self, index: int, row: bytes | None, outcome: Outcome) -> None:
        if self._recorder is not None:
            digest = 0 if row is None else row_digest(row)
            self._recorder.record(index, digest, outcome)

    async def _answered(
        self, part: Part, start: int, answers: LotAnswers
    ) -> Mapping[int, Outcome]:
        stop = start + len(part.offsets)
        asked = [offset for offset in answers.offsets if start <= offset < stop]
        outputs = answers.outputs
        if isinstance(outputs, RowError):
            failed = Outcome(error=outputs, attempts=1)
            return dict.fromkeys(asked, failed)
        cells = await outputs.take(len(asked))
        return dict(zip(asked, map(self._judged, cells), strict=True))

    def _judged(self, cell: Any) -> Outcome:
        output = read_output(cell)
        if output is None:
            return Outcome(error=_NO_ANSWER, attempts=1)
        if output.text is None:
            answer = Answer(text="", reasoning=output.reasoning)
            return Outcome(answer=answer, error=_ONLY_THOUGHT, attempts=1)
        answer = Answer(text=output.text, reasoning=output.reasoning)
        return judge(answer, self._schema, attempts=1)


class _Turns:
    """Lets lots out one at a time, in their order or as they come.

    Concurrency: one event loop.
    """

    def __init__(self, *, ordered: bool) -> None:
        self._ordered = ordered
        self._next = 0
        self._changed = anyio.Condition()

    @asynccontextmanager
    async def turn(self, number: int) -> AsyncIterator[None]:
        """Wait until it is the lot's turn, and have it inside."""
        async with self._changed:
            while self._ordered and self._next != number:
                await self._changed.wait()
            yield
            self._next += 1
            self._changed.notify_all()
