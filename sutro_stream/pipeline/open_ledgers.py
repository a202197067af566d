"""The ledgers of a run: which there are, what they are bound to, where they lie."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from anyio import CancelScope, to_thread

from sutro_stream.errors import ConfigurationError, StoreError
from sutro_stream.flow.outcome_store import Recording
from sutro_stream.ledger.identity import WorkIdentity
from sutro_stream.ledger.ledger import Ledger, OpenMode, open_ledger
from sutro_stream.pipeline.recorded_step import RecordedStep
from sutro_stream.pipeline.wiring import PreparedRun


@asynccontextmanager
async def open_ledgers(
    run: PreparedRun, path: Path | None, mode: OpenMode
) -> AsyncIterator[Mapping[int, Ledger]]:
    """Give every step that asks an engine its ledger, for as long as the run is on.

    The last such step has the ledger at `path`, earlier ones beside it. Without a
    path there is a ledger for the time of the run where equal prompts are to be
    asked once, since what was asked has to be remembered somewhere.

    Yields:
        Ledgers by the place of their step, in order; empty when there are none.

    Raises:
        WorkChangedError: A ledger belongs to other work.
        StoreError: A ledger cannot be used.
    """
    async with AsyncExitStack() as stack:
        asking = (step for step in run.steps if isinstance(step, RecordedStep))
        if path is None and any(step.needs_memory for step in asking):
            folder = await to_thread.run_sync(
                partial(tempfile.TemporaryDirectory, prefix="sutro-stream-")
            )
            stack.push_async_callback(to_thread.run_sync, folder.cleanup)
            path = Path(folder.name) / "ledger"
        if path is None:
            yield {}
            return
        ledgers = await _opened(stack, run, path, mode)
        try:
            yield ledgers
        finally:
            with CancelScope(shield=True):
                for at, ledger in ledgers.items():
                    step = run.steps[at]
                    if isinstance(step, RecordedStep) and not step.is_waiting:
                        await _forget_if_empty(ledger)


def recordings(ledgers: Mapping[int, Ledger]) -> dict[int, Recording]:
    """What steps are handed that have these ledgers."""
    return {
        at: Recording(store=ledger, is_resumed=not ledger.is_new)
        for at, ledger in ledgers.items()
    }


async def _forget_if_empty(ledger: Ledger) -> None:
    """Leave no file behind where there is nothing to go on with."""
    if ledger.is_done_with or ledger.is_left:
        return
    with suppress(StoreError):
        await ledger.flush()
        if not ledger.statistics().rows:
            await ledger.finish(remove=True)


async def _opened(
    stack: AsyncExitStack, run: PreparedRun, path: Path, mode: OpenMode
) -> dict[int, Ledger]:
    parts = {"input": await run.reader.identity() or "rows from memory"}
    ledgers: dict[int, Ledger] = {}
    if mode is OpenMode.REUSE:
        _check_reuse(run)
    asking = [at for at, step in enumerate(run.steps) if isinstance(step, RecordedStep)]
    for at, step in enumerate(run.steps):
        number = sum(place < at for place in asking) + 1
        suffix = "" if number == 1 else f" of call {number}"
        parts |= {f"{name}{suffix}": value for name, value in step.identity.items()}
        if isinstance(step, RecordedStep):
            place = path if at == asking[-1] else Path(f"{path}.{number}")
            work = WorkIdentity(parts=dict(parts))
            opening = open_ledger(place, work, mode=mode)
            ledgers[at] = ledger = await stack.enter_async_context(opening)
            await stack.enter_async_context(step.beside(ledger, place, mode))
    return ledgers


def _check_reuse(run: PreparedRun) -> None:
    for step in run.steps:
        if "seeds" in step.identity:
            raise ConfigurationError(
                "answers cannot be reused together with a seed for each row: a row's "
                "seed depends on its place in the input"
            )
        if isinstance(step, RecordedStep) and step.keeps_answers:
            raise ConfigurationError(
                "answers can be reused where requests are made here, not where the "
                "jobs of a deployment answer"
            )
