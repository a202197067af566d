"""A run from its options to its exit code."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    nullcontext,
)
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from sutro_stream.cli.assembly import engine_of, inference_of, prompts_of
from sutro_stream.cli.deploying import asked_of, deployment_of, submission_of
from sutro_stream.cli.messages import complain, say
from sutro_stream.cli.options import RunOptions
from sutro_stream.cli.preview import described, preview
from sutro_stream.cli.process import most_in_flight
from sutro_stream.cli.progress import LiveProgress
from sutro_stream.cli.reaching import unused_proxies
from sutro_stream.cli.signals import Stopped, run_until_signal
from sutro_stream.cli.summary import summary
from sutro_stream.errors import ConfigurationError, EngineError
from sutro_stream.ledger.inspection import inspect, made_output
from sutro_stream.ledger.ledger import OpenMode
from sutro_stream.ledger.opening import sweep
from sutro_stream.pipeline.pipeline import Pipeline
from sutro_stream.pipeline.report import RunReport, RunStatus
from sutro_stream.settings import Settings
from sutro_stream.sinks.files import FileSink
from sutro_stream.sinks.sink import Sink
from sutro_stream.values.endpoint import USUAL_DIALECT
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.outcomes import TRANSPORT_FAILURES, Result
from sutro_stream.wire.openai.dialects import request_fields

_DONE, _NOTHING_ANSWERED, _STOPPED = 0, 1, 3


def execute(options: RunOptions, settings: Settings) -> int:
    """Do what the options ask for, and say how it went.

    Returns:
        The exit code.

    Raises:
        SutroStreamError: The run cannot go on.
    """
    if options.dry_run:
        return _try_out(options, settings)
    output = options.output
    if output is None:
        raise AssertionError
    sink = FileSink(output, columns=options.kept_columns, details=options.told_details)
    answering, answered = _answering(options, settings)
    pipeline = answered | sink
    ledger = pipeline.ledger_path
    was_made = _is_made_already(options, output, ledger)
    if was_made and not ledger.exists():
        # Its removal was cut short, and nothing else.
        sweep(ledger)
        return _say_complete(output, quiet=options.quiet)
    call = partial(
        pipeline.run,
        mode=_mode(options, pipeline.ledger_path),
        keep_ledger=options.keep_ledger or (was_made and _is_kept(ledger)),
        failures_to=_failures_sink(options),
    )
    before = _state(output)
    with _progress(quiet=options.quiet) as progress:
        update = None if progress is None else progress.update
        try:
            ending = run_until_signal(
                partial(_answer, partial(call, on_progress=update), answering)
            )
        except EngineError as error:
            error.add_note(_kept(pipeline.ledger_path))
            raise
    if isinstance(ending, Stopped):
        written = "is complete" if _state(output) != before else "was not written"
        kept = _kept(pipeline.ledger_path)
        complain(f"{ending}; {output} {written}{kept}", label=None)
        return ending.exit_code
    if ending.status is RunStatus.INCOMPLETE:
        done = ending.rows_answered + ending.rows_failed
        kept = _kept(pipeline.ledger_path)
        complain(
            f"stopped after {done:,} rows: {ending.stopped}; {output} was not "
            f"written{kept}",
            label=None,
        )
        return _STOPPED
    code = _report(ending, quiet=options.quiet)
    is_same = ending.rows_kept == ending.rows and not ending.rows_to_ask_again
    if was_made and is_same and code == _DONE:
        return _say_complete(output, quiet=options.quiet)
    return code


def _is_made_already(options: RunOptions, output: Path, ledger: Path) -> bool:
    """Whether the output is there, and made from the ledger that is there.

    Raises:
        ConfigurationError: It is there, is something else, and is to stay.
    """
    if not output.is_file():
        return False
    is_own = made_output(ledger, output)
    if options.must_be_new and not is_own and not options.reuse:
        raise options.exists_already()
    return is_own


def _is_kept(ledger: Path) -> bool:
    """Whether a ledger stayed because somebody wanted it to."""
    found = inspect(ledger)
    failed = found.statistics.failed
    return found.is_finished and not TRANSPORT_FAILURES & failed.keys()


def _say_complete(output: Path, *, quiet: bool) -> int:
    if not quiet:
        say(f"{output} was complete already")
    return _DONE


def _answering(
    options: RunOptions, settings: Settings
) -> tuple[AbstractAsyncContextManager[Any], Pipeline[Result]]:
    """Who answers, to be opened, and the pipeline that asks."""
    if options.deployment is not None:
        deployment = deployment_of(options, settings)
        return deployment, asked_of(options) | submission_of(options, deployment)
    prompts, _ = prompts_of(options)
    engine = engine_of(options, settings)
    for told in unused_proxies(options, settings):
        complain(told, label="note")
    most = None
    if not options.is_local:
        number = options.concurrency
        most = most_in_flight(number if isinstance(number, int) else None)
    return engine, prompts | inference_of(options, engine, most_in_flight=most)


async def _answer(
    call: Callable[[], Awaitable[RunReport]],
    answering: AbstractAsyncContextManager[Any],
) -> RunReport:
    async with answering:
        return await call()


def _mode(options: RunOptions, ledger: Path) -> OpenMode:
    if options.restart:
        return OpenMode.RESTART
    if options.reuse:
        return OpenMode.REUSE
    if not options.retry_failed:
        return OpenMode.RESUME
    if not ledger.exists():
        raise ConfigurationError(
            f"there is no {ledger}, so it is not known which rows failed; a run "
            "keeps it with --keep-ledger"
        )
    return OpenMode.RETRY_FAILED


def _failures_sink(options: RunOptions) -> Sink | None:
    return None if options.failures_to is None else FileSink(options.failures_to)


def _kept(ledger: Path) -> str:
    """What can be done with what an unfinished run has left."""
    if not ledger.exists():
        return ""
    return (
        f"; what was answered is kept in {ledger}: give the same command again to go on"
    )


def _report(report: RunReport, *, quiet: bool) -> int:
    if not quiet:
        say(summary(report))
    if report.status is RunStatus.FAILED:
        complain(f"no row was answered; the reasons are in {report.path}")
        return _NOTHING_ANSWERED
    if quiet and report.rows_failed:
        complain(
            f"{report.rows_failed:,} of {report.rows:,} rows were not answered; "
            f"the reasons are in {report.path}",
            label="warning",
        )
    return _DONE


def _try_out(options: RunOptions, settings: Settings) -> int:
    columns = options.kept_columns
    if options.output is not None:
        FileSink(options.output, columns=columns)
    prompts, instructions = prompts_of(options)
    name = _name(options, settings, instructions)
    ending = run_until_signal(
        partial(preview, prompts, show=options.show, columns=columns)
    )
    if isinstance(ending, Stopped):
        complain(str(ending), label=None)
        return ending.exit_code
    own = options.is_local and options.deployment is None
    model = options.model or (None if own else instructions.model)
    say(described(ending, instructions, engine=name, model=model or "its default"))
    if ending.rows_to_send:
        return _DONE
    complain("no row can be sent; the reasons are above")
    return _NOTHING_ANSWERED


def _name(options: RunOptions, settings: Settings, instructions: Instructions) -> str:
    """Who would answer, once it is certain that it could be asked."""
    if options.deployment is not None:
        return deployment_of(options, settings).name
    engine = engine_of(options, settings)
    dialect = options.dialect or ("llama.cpp" if options.is_local else USUAL_DIALECT)
    request_fields(instructions.sampling, dialect)
    return engine.name


def _progress(*, quiet: bool) -> AbstractContextManager[LiveProgress | None]:
    if quiet or not sys.stderr.isatty():
        return nullcontext()
    console = Console(stderr=True)
    return nullcontext() if console.is_dumb_terminal else LiveProgress(console)


def _state(path: Path) -> tuple[int, int] | None:
    """What tells a file from the one that was there before."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
