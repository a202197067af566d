"""One run over a deployment: batches in, several jobs at once, outcomes out."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import pyarrow as pa
from anyio.abc import ObjectReceiveStream, ObjectSendStream

from sutro_stream.errors import WorkChangedError
from sutro_stream.flow.meter import Meter
from sutro_stream.flow.outcome_store import OutcomeStore, Recording
from sutro_stream.pipeline.batch_jobs import BatchAnswers, BatchJobs
from sutro_stream.pipeline.job_batches import Cutter, JobBatch, Part
from sutro_stream.pipeline.row_json import RowJson
from sutro_stream.pipeline.validation import validate
from sutro_stream.values.outcomes import (
    Answer,
    AnsweredTexts,
    ErrorKind,
    Outcome,
    OutcomeBatch,
    RowError,
)
from sutro_stream.values.schema import OutputSchema
from sutro_stream.wire.result_columns import is_plain_text, read_output

_NO_ANSWER = RowError(
    kind=ErrorKind.NO_ANSWER,
    message="the deployment has no answer for this row, and gives no reason",
)
_ONLY_THOUGHT = RowError(
    kind=ErrorKind.TRUNCATED,
    message="the model came to no answer within its tokens; allow more max_tokens",
)


@dataclass(slots=True, kw_only=True)
class SubmissionRun:
    """Cuts what arrives, has each batch answered, and sends on what came of it.

    Invariants: a row that came in goes out exactly once, and not before it is
    recorded; no more batches are in memory than can be in flight, and as many again
    where they wait for their turn.
    """

    reader: RowJson
    cutter: Cutter
    jobs: BatchJobs
    live: anyio.Semaphore
    ordered: bool
    schema: OutputSchema | None
    meter: Meter
    recording: Recording
    next_number: int = 0
    changed: anyio.Condition = field(default_factory=anyio.Condition)

    async def run(
        self, source: ObjectReceiveStream[Any], sink: ObjectSendStream[Any]
    ) -> None:
        """Work off `source` into `sink`; closes both.

        Raises:
            ExceptionGroup: Of the errors that end the run.
        """
        async with source, sink, anyio.create_task_group() as tasks:
            async for job_batch in self._batches(source):
                await self.live.acquire()
                tasks.start_soon(self._work_off, job_batch, sink)

    async def _batches(
        self, source: ObjectReceiveStream[Any]
    ) -> AsyncIterator[JobBatch]:
        async for batch in source:
            for prompts, rows in self.reader.read(batch):
                if self.recording.spool is not None:
                    await self.recording.spool(prompts)
                for job_batch in self.cutter.add(prompts, rows):
                    yield job_batch
        last = self.cutter.finish()
        if last is not None:
            yield last

    async def _work_off(self, job_batch: JobBatch, sink: ObjectSendStream[Any]) -> None:
        known = await self._known(job_batch)
        wanted = job_batch.rows().sendable()
        if known:
            wanted = [offset for offset in wanted if offset not in known]
        async with AsyncExitStack() as stack:
            answers = None
            if wanted:
                asking = self.jobs.answers(job_batch, wanted)
                answers = await stack.enter_async_context(asking)
            async with self._turn(job_batch.number):
                await self._emit(job_batch, known, answers, sink)
        self.live.release()

    @asynccontextmanager
    async def _turn(self, number: int) -> AsyncIterator[None]:
        """Wait until it is the batch's turn to go out, and have it inside."""
        async with self.changed:
            while self.ordered and self.next_number != number:
                await self.changed.wait()
            yield
            self.next_number += 1
            self.changed.notify_all()

    async def _known(self, job_batch: JobBatch) -> Mapping[int, Outcome]:
        """What earlier runs have recorded, by offset within the batch."""
        if self.recording.store is None:
            return {}
        first = job_batch.first_index
        found = await self.recording.store.known(first, len(job_batch))
        if not found:
            return {}
        digests = job_batch.rows().digests()
        for index, known in found.items():
            digest = digests[index - first]
            if digest is not None and digest != known.digest:
                raise WorkChangedError(
                    f"row {index} is not the one that the ledger has the answer of: "
                    "the input changed; restore it, or start afresh (--restart)",
                    differences=("rows",),
                )
        return {index - first: known.outcome for index, known in found.items()}

    async def _emit(
        self,
        job_batch: JobBatch,
        known: Mapping[int, Outcome],
        answers: BatchAnswers | None,
        sink: ObjectSendStream[Any],
    ) -> None:
        is_kept = (
            self.recording.store is not None
            and answers is not None
            and answers.is_kept
            and len(answers.offsets) == len(job_batch)
        )
        records = _BatchRecords(self.recording.store, known, is_kept=is_kept)
        last = job_batch.parts[-1]
        for part in job_batch.parts:
            outcomes = await self._concluded(part, known, answers)
            records.add(part, outcomes)
            if part is last and not records.is_kept:
                await self.jobs.forget(job_batch)
            await sink.send(
                OutcomeBatch(
                    prompts=part.prompts,
                    offsets=part.offsets,
                    outcomes=outcomes,
                    structured=self.schema is not None,
                )
            )

    async def _concluded(
        self,
        part: Part,
        known: Mapping[int, Outcome],
        answers: BatchAnswers | None,
    ) -> Sequence[Outcome]:
        """The outcomes of a part, of earlier runs and this."""
        asked = [] if answers is None else _within(answers.offsets, part)
        outcomes: Sequence[Outcome] = ()
        if answers is not None:
            outcomes = await self._answered(len(asked), answers)
        if len(asked) < len(part.offsets):
            new = dict(zip(asked, outcomes, strict=True))
            outcomes = self._completed(part, known, new)
        if answers is not None and answers.is_old:
            self.meter.kept += len(asked)
        self.meter.concluded_unpaid(outcomes)
        return outcomes

    def _completed(
        self, part: Part, known: Mapping[int, Outcome], new: Mapping[int, Outcome]
    ) -> Sequence[Outcome]:
        """The outcomes of all rows of a part."""
        outcomes = []
        refused = part.prompts.refused
        for offset, place in enumerate(part.offsets, part.start):
            outcome = known.get(offset)
            if outcome is None:
                outcome = new.get(offset) or Outcome(error=refused[place])
            else:
                self.meter.kept += 1
            outcomes.append(outcome)
        return outcomes

    async def _answered(self, count: int, answers: BatchAnswers) -> Sequence[Outcome]:
        """The outcomes of the next rows that were sent."""
        outputs = answers.outputs
        if isinstance(outputs, RowError):
            return [Outcome(error=outputs, attempts=1)] * count
        cells = await outputs.take(count)
        if isinstance(cells, pa.Array):
            if self.schema is None and is_plain_text(cells):
                return AnsweredTexts(cells)
            cells = cells.to_pylist()
        return [self._judged(cell) for cell in cells]

    def _judged(self, cell: Any) -> Outcome:
        output = read_output(cell)
        if output is None:
            return Outcome(error=_NO_ANSWER, attempts=1)
        if output.text is None:
            answer = Answer(text="", reasoning=output.reasoning)
            return Outcome(answer=answer, error=_ONLY_THOUGHT, attempts=1)
        answer = Answer(text=output.text, reasoning=output.reasoning)
        return validate(answer, self.schema, attempts=1)


class _BatchRecords:
    """Records the rows of a batch one by one, unless its results are kept as they are.

    Those of a batch without a failure are. A failure is the ledger's, which knows how
    to have failed rows asked again; so then all rows of the batch are recorded, those
    that have gone out already among them.
    """

    def __init__(
        self,
        recorder: OutcomeStore | None,
        known: Mapping[int, Outcome],
        *,
        is_kept: bool,
    ) -> None:
        """With `is_kept` all rows were sent, and their results stay in a file."""
        self._recorder = recorder
        self._known = known
        self.is_kept = is_kept
        self._held: list[tuple[Part, Sequence[Outcome]]] = []

    def add(self, part: Part, outcomes: Sequence[Outcome]) -> None:
        """Take the outcomes of the next part."""
        if self._recorder is None:
            return
        self._held.append((part, outcomes))
        if self.is_kept and not _has_failure(outcomes):
            return
        self.is_kept = False
        for held, concluded in self._held:
            digests = held.rows.digests()
            for at, (digest, outcome) in enumerate(
                zip(digests, concluded, strict=True)
            ):
                if held.start + at not in self._known:
                    index = held.first_index + at
                    self._recorder.record(index, digest or 0, outcome)
        self._held.clear()


def _has_failure(outcomes: Sequence[Outcome]) -> bool:
    return not isinstance(outcomes, AnsweredTexts) and any(
        outcome.error is not None for outcome in outcomes
    )


def _within(offsets: Sequence[int], part: Part) -> Sequence[int]:
    """Those of ascending offsets within a batch that lie in a part."""
    stop = part.start + len(part.offsets)
    return offsets[bisect_left(offsets, part.start) : bisect_left(offsets, stop)]
