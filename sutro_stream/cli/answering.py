"""Who answers, and within which limits: the options of engines and deployments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import click

from sutro_stream.cli.declared import (
    ABOVE_ZERO,
    AT_LEAST_ONE,
    Concurrency,
    Duration,
    Group,
    Needs,
    option,
)
from sutro_stream.settings import API_KEY_VARIABLE, DEPLOYMENT_KEY_VARIABLE

LOCAL_ENGINE = "local"
_BUDGETS = ("usd", "tokens", "calls", "minutes")
_ANSWERING, _LIMITS = Group.ANSWERING, Group.LIMITS
_OF_REQUESTS = (Needs.ENDPOINT, Needs.REQUESTS)

DialectName = Literal["openai", "vllm", "llama.cpp"]
TransportName = Literal["fast", "aiohttp"]


@dataclass(frozen=True, kw_only=True)
class AnsweringOptions:
    """Who answers; the defaults stand for "not given"."""

    engine: str = option(
        _ANSWERING,
        "--engine",
        needs=Needs.REQUESTS,
        default=LOCAL_ENGINE,
        metavar="local|URL",
        help="The embedded model, or the address of an OpenAI-compatible endpoint.",
    )
    deployment: str | None = option(
        _ANSWERING,
        "--deployment",
        metavar="URL",
        help="A Sutro deployment that answers instead, in jobs of many rows.",
    )
    model: str | None = option(
        _ANSWERING,
        "--model",
        metavar="NAME|FILE",
        help="Model to ask for; with the local engine, a GGUF file.",
    )
    api_key_env: str | None = option(
        _ANSWERING,
        "--api-key-env",
        needs=Needs.ENDPOINT,
        metavar="VARIABLE",
        help="Environment variable that holds the endpoint's key.  "
        f"[default: {API_KEY_VARIABLE}; with --deployment, {DEPLOYMENT_KEY_VARIABLE}]",
    )
    api_key_command: str | None = option(
        _ANSWERING,
        "--api-key-command",
        needs=_OF_REQUESTS,
        metavar="COMMAND",
        help="Command that prints the endpoint's key, run without a shell; run again "
        "when the endpoint refuses the key.",
    )
    dialect: DialectName | None = option(
        _ANSWERING,
        "--dialect",
        needs=_OF_REQUESTS,
        type=click.Choice(["openai", "vllm", "llama.cpp"]),
        help="Which sampling parameters the endpoint knows.  [default: vllm]",
    )
    transport: TransportName | None = option(
        _ANSWERING,
        "--transport",
        needs=_OF_REQUESTS,
        type=click.Choice(["fast", "aiohttp"]),
        help="What speaks HTTP to the endpoint; fast needs a fourth of the "
        "processor's time.  [default: fast]",
    )
    concurrency: int | Literal["auto"] | None = option(
        _ANSWERING,
        "--concurrency",
        type=Concurrency(),
        metavar="N|auto",
        help="Requests in flight at once; auto finds the number at which the endpoint "
        "answers best. With --deployment, jobs.  [default: auto; with the local "
        "engine, what suits it; with --deployment, 4]",
    )
    timeout: float | None = option(
        _ANSWERING,
        "--timeout",
        needs=Needs.REQUESTS,
        type=ABOVE_ZERO,
        metavar="SECONDS",
        help="Longest time of one attempt at a row.  [default: 600]",
    )
    patience: float | None = option(
        _ANSWERING,
        "--patience",
        needs=Needs.REQUESTS,
        type=Duration(),
        metavar="DURATION|forever",
        help="How long to wait for an endpoint that answers nobody, as in 90s, 10m or "
        "2h; then the run stops, to be gone on with.  [default: 10m]",
    )
    attempts: int | None = option(
        _ANSWERING,
        "--attempts",
        needs=Needs.REQUESTS,
        type=AT_LEAST_ONE,
        metavar="N",
        help="Most requests for one row, the first included.  [default: 5]",
    )
    hedge: bool = option(
        _ANSWERING,
        "--hedge",
        needs=Needs.REQUESTS,
        default=False,
        help="Ask a second time for a row that is late; at most 3 % more requests.",
    )
    batch_rows: int | None = option(
        _ANSWERING,
        "--batch-rows",
        needs=Needs.JOBS,
        type=AT_LEAST_ONE,
        metavar="N",
        help="Most rows of a job, with --deployment.  [default: 1000]",
    )
    priority: int | None = option(
        _ANSWERING,
        "--priority",
        needs=Needs.JOBS,
        type=click.IntRange(0, 1),
        help="Of the jobs, with --deployment: 0 for prototypes.  [default: 1]",
    )
    requests_per_minute: float | None = option(
        _LIMITS,
        "--requests-per-minute",
        needs=Needs.REQUESTS,
        type=ABOVE_ZERO,
        metavar="N",
        help="Most requests a minute, spread evenly.",
    )
    tokens_per_minute: float | None = option(
        _LIMITS,
        "--tokens-per-minute",
        needs=Needs.REQUESTS,
        type=ABOVE_ZERO,
        metavar="N",
        help="Most tokens a minute, read and written.",
    )
    budget: tuple[str, ...] = option(
        _LIMITS,
        "--budget",
        needs=Needs.REQUESTS,
        default=(),
        metavar="KEY=NUMBER",
        help="Stop, to go on later, when so much is spent: calls=, tokens=, minutes= "
        "or usd=.",
    )

    @property
    def is_local(self) -> bool:
        """Whether the embedded engine answers."""
        return self.engine == LOCAL_ENGINE

    @property
    def budget_limits(self) -> dict[str, float]:
        """What the run may spend, by name.

        Raises:
            UsageError: A budget is not of the form `KEY=NUMBER`.
        """
        limits: dict[str, float] = {}
        for item in self.budget:
            name, _, value = item.partition("=")
            try:
                limits[name] = float(value)
            except ValueError:
                name = ""
            if name not in _BUDGETS:
                raise click.UsageError(
                    f"--budget takes one of {', '.join(_BUDGETS)} and a number, as in "
                    "calls=1000"
                )
        return limits
