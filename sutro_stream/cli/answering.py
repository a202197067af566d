"""Who answers, and within which limits: the options of engines and deployments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import click

from sutro_stream.cli.declared import (
    ABOVE_ZERO,
    AT_LEAST_ONE,
    FILE,
    Concurrency,
    Duration,
    Group,
    Needs,
    option,
)
from sutro_stream.settings import API_KEY_VARIABLE, DEPLOYMENT_KEY_VARIABLE
from sutro_stream.values.endpoint import (
    DIALECTS,
    TRANSPORTS,
    USUAL_DIALECT,
    USUAL_TRANSPORT,
    Dialect,
    TransportName,
)

LOCAL_ENGINE = "local"
_BUDGETS = ("usd", "tokens", "calls", "minutes")
_ANSWERING, _LIMITS = Group.ANSWERING, Group.LIMITS
_OF_REQUESTS = (Needs.ENDPOINT, Needs.REQUESTS)

REACH = (
    "model",
    "api_key_env",
    "api_key_command",
    "dialect",
    "header",
    "header_env",
    "extra_body",
    "stream",
    "transport",
    "proxy",
    "ca_file",
)
"""The options of an endpoint, which other commands take as well."""


@dataclass(frozen=True, kw_only=True)
class AnsweringOptions:
    """Who answers; the defaults stand for "not given"."""

    engine: tuple[str, ...] = option(
        _ANSWERING,
        "--engine",
        needs=Needs.REQUESTS,
        default=(),
        metavar="local|URL",
        help="The embedded model, or the address of an OpenAI-compatible endpoint; "
        "repeat to share the work among several.  [default: local]",
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
    api_key_env: tuple[str, ...] = option(
        _ANSWERING,
        "--api-key-env",
        needs=Needs.ENDPOINT,
        default=(),
        metavar="VARIABLE",
        help="Environment variable that holds the endpoint's key; repeat for several "
        "keys of one endpoint, or one of each.  "
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
    dialect: Dialect | None = option(
        _ANSWERING,
        "--dialect",
        needs=_OF_REQUESTS,
        type=click.Choice(DIALECTS),
        metavar="NAME",
        help="Whose parameters the endpoint knows, and what it calls them: "
        f"{', '.join(DIALECTS)}.  [default: {USUAL_DIALECT}]",
    )
    header: tuple[str, ...] = option(
        _ANSWERING,
        "--header",
        needs=_OF_REQUESTS,
        default=(),
        metavar="NAME=VALUE",
        help="Header of each request; repeatable.",
    )
    header_env: tuple[str, ...] = option(
        _ANSWERING,
        "--header-env",
        needs=_OF_REQUESTS,
        default=(),
        metavar="NAME=VARIABLE",
        help="The same, its value in an environment variable; repeatable.",
    )
    extra_body: str | None = option(
        _ANSWERING,
        "--extra-body",
        needs=_OF_REQUESTS,
        metavar="JSON|@FILE",
        help="Object whose fields are added to each request as they are.",
    )
    stream: bool = option(
        _ANSWERING,
        "--stream",
        needs=_OF_REQUESTS,
        default=False,
        help="Ask for streamed replies, for servers that do not notice otherwise that "
        "a request was given up.",
    )
    transport: TransportName | None = option(
        _ANSWERING,
        "--transport",
        needs=_OF_REQUESTS,
        type=click.Choice(TRANSPORTS),
        help="What speaks HTTP to the endpoint; fast needs a fourth of the "
        f"processor's time.  [default: {USUAL_TRANSPORT}; with --proxy, aiohttp]",
    )
    proxy: str | None = option(
        _ANSWERING,
        "--proxy",
        needs=_OF_REQUESTS,
        metavar="URL",
        help="HTTP proxy that requests go through, with user and password if it asks "
        "for them; one that the environment names is not used.",
    )
    ca_file: Path | None = option(
        _ANSWERING,
        "--ca-file",
        needs=_OF_REQUESTS,
        type=FILE,
        metavar="FILE",
        help="Certificate authorities (PEM) to trust beside those of this machine.",
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
        return self.engine in ((), (LOCAL_ENGINE,))

    def check_reach(self, option: str = "--engine") -> None:
        """Refuse addresses and keys that do not go together.

        Args:
            option: Where the addresses were given.

        Raises:
            UsageError: Says which options, and what to do.
        """
        if self.api_key_env and self.api_key_command is not None:
            raise click.UsageError(
                "--api-key-env and --api-key-command exclude each other"
            )
        # The value is left out: an address may hold a password or a key.
        for address in () if self.is_local else self.engine:
            if address == LOCAL_ENGINE:
                raise click.UsageError(
                    f"{option} local cannot share the work with other endpoints"
                )
            if urlsplit(address).scheme not in {"http", "https"}:
                raise click.UsageError(
                    f"unknown engine: {option} takes 'local', or an endpoint's address "
                    "such as http://127.0.0.1:8000/v1"
                )
        engines, keys = len(self.engine), len(self.api_key_env)
        if engines > 1 and keys not in {0, 1, engines}:
            raise click.UsageError(
                f"{keys} --api-key-env for {engines} endpoints: give one key for all, "
                "or one for each in their order"
            )

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
