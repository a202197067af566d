"""The options of `sutro-stream run`, as typed, and what can be said of them alone."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import click

from sutro_stream.errors import ConfigurationError

LOCAL_ENGINE = "local"
_BUDGETS = ("usd", "tokens", "calls", "minutes")
_ESCAPES = {r"\n": "\n", r"\t": "\t"}

InputFormat = Literal["csv", "parquet"]
EmptyCell = Literal["null", "empty"]
DialectName = Literal["openai", "vllm", "llama.cpp"]
TransportName = Literal["fast", "aiohttp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """One call of the command; `None` and empty tuples stand for "not given"."""

    inputs: tuple[str, ...]
    format: InputFormat | None
    delimiter: str | None
    encoding: str | None
    empty: EmptyCell | None
    limit: int | None
    function: Path | None
    column: tuple[str, ...]
    separator: str | None
    system_prompt: str | None
    schema: Path | None
    sampling: tuple[str, ...]
    temperature: float | None
    max_tokens: int | None
    engine: str
    deployment: str | None
    batch_rows: int | None
    priority: int | None
    model: str | None
    dialect: DialectName | None
    transport: TransportName | None
    api_key_env: str | None
    api_key_command: str | None
    concurrency: int | Literal["auto"] | None
    timeout: float | None
    patience: float | None
    attempts: int | None
    unordered: bool
    seed_per_row: bool
    dedupe: bool
    restart: bool
    retry_failed: bool
    reuse: bool
    keep_ledger: bool
    failures_to: Path | None
    requests_per_minute: float | None
    tokens_per_minute: float | None
    budget: tuple[str, ...]
    input_price: float | None
    output_price: float | None
    hedge: bool
    output: Path | None
    columns: str | None
    overwrite: bool
    dry_run: bool
    show: int
    quiet: bool

    @property
    def is_local(self) -> bool:
        """Whether the embedded engine answers."""
        return self.engine == LOCAL_ENGINE

    @property
    def published_function(self) -> str | None:
        """Name of a Function of the deployment, `None` for one in a file."""
        if self.deployment is None or self.function is None:
            return None
        is_file = self.function.suffix == ".json" or self.function.exists()
        return None if is_file else str(self.function)

    @property
    def csv_options(self) -> Mapping[str, str]:
        """The options given that make sense for CSV only, by name."""
        given = {
            "delimiter": self.delimiter,
            "encoding": self.encoding,
            "empty": self.empty,
        }
        return {name: value for name, value in given.items() if value is not None}

    @property
    def sampling_params(self) -> dict[str, Any]:
        """Sampling parameters given on the command line, by name.

        Raises:
            UsageError: One is not of the form `KEY=VALUE`.
        """
        params: dict[str, Any] = {}
        for item in self.sampling:
            name, equals, value = item.partition("=")
            if not name or not equals:
                raise click.UsageError("--sampling takes KEY=VALUE, as in top_p=0.9")
            params[name] = _json_or_text(value)
        if self.temperature is not None:
            params["temperature"] = self.temperature
        if self.max_tokens is not None:
            params["max_tokens"] = self.max_tokens
        return params

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

    @property
    def kept_columns(self) -> tuple[str, ...] | None:
        """Input columns for the output, `None` for all."""
        if self.columns is None:
            return None
        return tuple(next(csv.reader([self.columns], skipinitialspace=True), ()))

    def check(self) -> None:
        """Refuse combinations that make no sense, before any work is done.

        Raises:
            UsageError: Says which options, and what to do.
            ConfigurationError: The output is a file that is needed.
        """
        self._check_prompting()
        self._check_deployment()
        self._check_engine()
        self._check_output()

    def _check_prompting(self) -> None:
        if self.function is None:
            if not self.column:
                raise click.UsageError(
                    "say what to ask: --function FILE, or --column NAME"
                )
            return
        in_function = {
            "--column": self.column,
            "--separator": self.separator,
            "--system-prompt": self.system_prompt,
            "--schema": self.schema,
        }
        for name, value in in_function.items():
            if value not in (None, ()):
                raise click.UsageError(
                    f"{name} cannot be combined with --function: a Function brings "
                    "its own prompt and schema"
                )

    def _check_deployment(self) -> None:
        if self.deployment is None:
            for name, given in {
                "--batch-rows": self.batch_rows,
                "--priority": self.priority,
            }.items():
                if given is not None:
                    raise click.UsageError(f"{name} is for jobs; add --deployment URL")
            return
        for name, is_given in {
            "--engine": self.engine != LOCAL_ENGINE,
            "--api-key-command": self.api_key_command is not None,
            "--dialect": self.dialect is not None,
            "--transport": self.transport is not None,
            "--concurrency auto": self.concurrency == "auto",
            "--timeout": self.timeout is not None,
            "--patience": self.patience is not None,
            "--attempts": self.attempts is not None,
            "--dedupe": self.dedupe,
            "--hedge": self.hedge,
            "--requests-per-minute": self.requests_per_minute is not None,
            "--tokens-per-minute": self.tokens_per_minute is not None,
            "--budget": bool(self.budget),
            "--reuse": self.reuse,
        }.items():
            if is_given:
                raise click.UsageError(
                    f"{name} is for requests that are made here; with --deployment "
                    "the deployment makes them"
                )
        published = self.published_function is not None
        if published and self.model is not None:
            raise click.UsageError(
                "--model cannot be combined with a published Function, which brings "
                "its own"
            )
        if published and self.dry_run:
            raise click.UsageError(
                "--dry-run cannot show the prompts of a published Function: the "
                "deployment makes them"
            )

    def _check_engine(self) -> None:
        if self.deployment is not None:
            return
        if self.is_local:
            for name, value in {
                "--dialect": self.dialect,
                "--transport": self.transport,
                "--api-key-env": self.api_key_env,
                "--api-key-command": self.api_key_command,
            }.items():
                if value is not None:
                    raise click.UsageError(
                        f"{name} is for an endpoint; name it with --engine URL"
                    )
            return
        if self.api_key_env is not None and self.api_key_command is not None:
            raise click.UsageError(
                "--api-key-env and --api-key-command exclude each other"
            )
        # The value is left out: an address may hold a password or a key.
        if urlsplit(self.engine).scheme not in {"http", "https"}:
            raise click.UsageError(
                "unknown engine: --engine takes 'local', or an endpoint's address "
                "such as http://127.0.0.1:8000/v1"
            )

    def _check_output(self) -> None:
        output = self.output
        if output is None:
            if not self.dry_run:
                raise click.UsageError("say where results go: --output FILE")
            return
        if any(_is_same_file(output, path) for path in self.inputs):
            raise ConfigurationError(f"{output}: the output is the input")
        modes = {
            "--restart": self.restart,
            "--retry-failed": self.retry_failed,
            "--reuse": self.reuse,
        }
        given = [name for name, is_given in modes.items() if is_given]
        if len(given) > 1:
            raise click.UsageError(f"{' and '.join(given)} exclude each other")
        if self.failures_to is not None and self.failures_to == output:
            raise ConfigurationError(f"{output}: the output is the file of failures")
        if self.must_be_new and not self.restart and self._has_ledger(output):
            # It may be what this command has made, or may replace.
            return
        if self.must_be_new and output.is_file():
            raise self.exists_already()

    @property
    def must_be_new(self) -> bool:
        """Whether an output that is there is not to be replaced."""
        return not (self.dry_run or self.overwrite or self.retry_failed)

    def exists_already(self) -> ConfigurationError:
        """The error for an output that must not be replaced."""
        return ConfigurationError(
            f"{self.output} exists already; choose another name, or add --overwrite"
        )

    def _has_ledger(self, output: Path) -> bool:
        names = (f"{output.name}.ledger", f"{output.name}.ledger-gone")
        return any(output.with_name(name).exists() for name in names)


def unescaped(text: str) -> str:
    r"""The text with `\n` and `\t` as the characters they stand for."""
    for written, meant in _ESCAPES.items():
        text = text.replace(written, meant)
    return text


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _is_same_file(output: Path, other: str) -> bool:
    try:
        return output.samefile(other)
    except OSError:
        return False
