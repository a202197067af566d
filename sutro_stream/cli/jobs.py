"""`sutro-stream jobs`: the jobs of an account at a deployment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sutro_stream.cli.messages import complain, printable, say
from sutro_stream.errors import ConfigurationError
from sutro_stream.settings import (
    DEPLOYMENT_KEY_VARIABLE,
    DEPLOYMENT_URL_VARIABLE,
    Settings,
)
from sutro_stream.values.job import JobState

if TYPE_CHECKING:
    from sutro_stream.deployments.deployment import Deployment
    from sutro_stream.wire.responses import JobInfo

CommandT = TypeVar("CommandT", bound=Callable[..., Any])
ReturnT = TypeVar("ReturnT")

_DONE, _NOTHING_DONE = 0, 1
_PAGE_JOBS = 100


@click.group(
    epilog=f"""\b
The deployment's address is looked for in {DEPLOYMENT_URL_VARIABLE}, the API key in
{DEPLOYMENT_KEY_VARIABLE}."""
)
def jobs() -> None:
    """List, show, fetch and cancel the jobs of an account at a deployment."""


def _deployment_option(command: CommandT) -> CommandT:
    return click.option(
        "--deployment",
        metavar="URL",
        help=f"Address of the deployment.  [default: {DEPLOYMENT_URL_VARIABLE}]",
    )(command)


@jobs.command("list")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    metavar="N",
    help="Most jobs to list.",
)
@_deployment_option
@click.pass_obj
def list_jobs(settings: Settings, /, limit: int, deployment: str | None) -> int:
    """List the newest jobs: ID, status, priority, rows, model, when made."""
    found = _at(settings, deployment, partial(_newest, limit=limit))
    if found:
        say(printable("\n".join(_table(found))))
    else:
        complain("there are no jobs", label=None)
    return _DONE


@jobs.command()
@click.argument("job_id", metavar="JOB-ID")
@_deployment_option
@click.pass_obj
def show(settings: Settings, /, job_id: str, deployment: str | None) -> int:
    """Show where the job JOB-ID stands, and what it cost.

    Exit code 1 if it failed.
    """
    job = _at(settings, deployment, lambda there: there.job(job_id))
    say(printable("\n".join(_lines(job))))
    return _NOTHING_DONE if job.failure is not None else _DONE


@jobs.command()
@click.argument("job_id", metavar="JOB-ID")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Where the results go: a .parquet file.",
)
@click.option("--inputs", is_flag=True, help="With the prompts.")
@click.option("--logprobs", is_flag=True, help="With cumulative log-probabilities.")
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
@click.option("--wait", is_flag=True, help="Wait until the job has ended.")
@_deployment_option
@click.pass_obj
def results(
    settings: Settings,
    /,
    job_id: str,
    output: Path,
    *,
    inputs: bool,
    logprobs: bool,
    overwrite: bool,
    wait: bool,
    deployment: str | None,
) -> int:
    """Store the results of the job JOB-ID as a Parquet file."""
    if output.suffix != ".parquet":
        raise ConfigurationError(f"{output}: results are Parquet; call it .parquet")
    if output.exists() and not overwrite:
        raise ConfigurationError(
            f"{output} exists already; choose another name, or add --overwrite"
        )

    async def fetch(there: Deployment) -> JobInfo:
        job = await (there.wait(job_id) if wait else there.status(job_id))
        if job.state is not JobState.SUCCEEDED:
            return job
        unfinished = output.with_name(f".{output.name}.part")
        try:
            await there.download_results(
                job_id,
                unfinished,
                include_inputs=inputs,
                include_cumulative_logprobs=logprobs,
            )
            unfinished.replace(output)
        finally:
            unfinished.unlink(missing_ok=True)
        return job

    job = _at(settings, deployment, fetch)
    if job.state is not JobState.SUCCEEDED:
        complain(_without_results(job))
        return _NOTHING_DONE
    say(f"{output} is complete")
    return _DONE


@jobs.command()
@click.argument("job_id", metavar="JOB-ID")
@_deployment_option
@click.pass_obj
def cancel(settings: Settings, /, job_id: str, deployment: str | None) -> int:
    """Ask for the end of the job JOB-ID.

    Exit code 1 if it had ended already.
    """
    if _at(settings, deployment, lambda there: there.cancel(job_id)):
        say(f"{printable(job_id)} is being cancelled")
        return _DONE
    complain(f"{job_id} has ended already", label=None)
    return _NOTHING_DONE


def _without_results(job: JobInfo) -> str:
    if job.state is None or not job.state.is_final:
        return f"{job.job_id} is {job.status}; add --wait to wait for its end"
    reason = "" if job.failure is None else f": {job.failure}"
    return f"{job.job_id} is {job.status} and has no results{reason}"


def _at(
    settings: Settings,
    url: str | None,
    work: Callable[[Deployment], Awaitable[ReturnT]],
) -> ReturnT:
    """Do something at the deployment.

    Raises:
        Exit: A signal came.
    """
    from sutro_stream.cli.signals import Stopped, run_until_signal  # noqa: PLC0415
    from sutro_stream.deployments.deployment import Deployment  # noqa: PLC0415

    deployment = Deployment(url or settings.deployment_url(), settings.deployment_key())

    async def run() -> ReturnT:
        async with deployment:
            return await work(deployment)

    ending = run_until_signal(run)
    if isinstance(ending, Stopped):
        complain(str(ending), label=None)
        raise click.exceptions.Exit(ending.exit_code)
    return ending


async def _newest(deployment: Deployment, *, limit: int) -> Sequence[JobInfo]:
    found: list[JobInfo] = []
    cursor: str | None = None
    while True:
        wanted = min(limit - len(found), _PAGE_JOBS)
        page, cursor = await deployment.jobs(limit=wanted, cursor=cursor)
        found += page[:wanted]
        if cursor is None or len(found) >= limit:
            return found


def _table(found: Sequence[JobInfo]) -> Iterator[str]:
    yield f"{'job':<42}{'status':<12}{'priority':<10}{'rows':>10}  {'model':<24}made"
    for job in found:
        priority = "" if job.priority is None else str(job.priority)
        rows = "" if job.rows is None else f"{job.rows:,}"
        yield (
            f"{job.job_id:<42}{job.status:<12}{priority:<10}{rows:>10}  "
            f"{job.model or '':<24}{job.created_at or ''}"
        ).rstrip()


def _lines(job: JobInfo) -> Iterator[str]:
    shown: dict[str, object] = {
        "job": job.job_id,
        "status": job.status,
        "failure": job.failure,
        "model": job.model,
        "priority": job.priority,
        "name": job.name,
        "description": job.description,
        "rows": job.rows,
        "input tokens": job.input_tokens,
        "output tokens": job.output_tokens,
        "cost": None if job.cost_usd is None else f"{job.cost_usd:.4f} USD",
        "estimate": None if job.estimate_usd is None else f"{job.estimate_usd:.4f} USD",
        "made": job.created_at,
        "started": job.started_at,
        "ended": job.completed_at,
    }
    for name, value in shown.items():
        if value is not None:
            text = f"{value:,}" if isinstance(value, int) else str(value)
            yield f"{name:<15}{text}"
