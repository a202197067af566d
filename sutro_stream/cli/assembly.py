"""From options to the parts of a pipeline; nothing is opened or sent here."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import click

from sutro_stream.cli.options import RunOptions
from sutro_stream.cli.reaching import endpoints_of
from sutro_stream.cli.reading import unescaped
from sutro_stream.engines.chat import ChatEngine
from sutro_stream.engines.embeddings import EmbeddingEngine
from sutro_stream.engines.group import EngineGroup
from sutro_stream.engines.hedging import Hedge
from sutro_stream.engines.local import LocalEngine
from sutro_stream.errors import ConfigurationError
from sutro_stream.flow.budget import Budget
from sutro_stream.flow.retry import RetryPolicy
from sutro_stream.formats.csv_options import CsvOptions
from sutro_stream.formats.table import format_called, format_of_name
from sutro_stream.pipeline.infer import Infer
from sutro_stream.pipeline.limits import Limits
from sutro_stream.pipeline.pipeline import Pipeline
from sutro_stream.pipeline.row_stages import Limit
from sutro_stream.rendering.columns import Prompts
from sutro_stream.rendering.function import Render
from sutro_stream.rendering.messages import Messages
from sutro_stream.settings import Settings
from sutro_stream.sources.files import FileSource
from sutro_stream.sources.source import Source
from sutro_stream.sources.url import UrlSource
from sutro_stream.storage.stored import why
from sutro_stream.values.function import Function
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.prompts import Prompt
from sutro_stream.values.rows import Row
from sutro_stream.values.sampling import SamplingParams
from sutro_stream.values.schema import OutputSchema

Prompting: TypeAlias = Render | Prompts | Messages
ModelEngine: TypeAlias = ChatEngine | EmbeddingEngine | EngineGroup | LocalEngine

_URL_SCHEMES = ("http://", "https://")


def rows_of(options: RunOptions) -> Pipeline[Row]:
    """The input, cut to the rows wanted.

    Raises:
        UsageError: The inputs or their options do not fit together.
        ConfigurationError: The format cannot be told.
        SourceNotFoundError: There is no such file.
    """
    rows: Pipeline[Row] = Pipeline(_source(options))
    return rows if options.limit is None else rows | Limit(rows=options.limit)


def prompts_of(options: RunOptions) -> tuple[Pipeline[Prompt], Instructions]:
    """The input's prompts, and what they share.

    Raises:
        ConfigurationError: Function, schema or a sampling parameter is not valid.
    """
    prompting, instructions = _prompting(options)
    return rows_of(options) | prompting, instructions


def engine_of(options: RunOptions, settings: Settings) -> ModelEngine:
    """The engine asked for.

    Raises:
        UsageError: An option is not of the form that it must have.
        ConfigurationError: Its address or key is not valid.
    """
    if options.is_local:
        return LocalEngine(options.model, embedding=options.embed)
    kind = EmbeddingEngine if options.embed else ChatEngine
    engines = [
        kind.of(endpoint, options.model) for endpoint in endpoints_of(options, settings)
    ]
    return engines[0] if len(engines) == 1 else EngineGroup(engines)


def inference_of(
    options: RunOptions, engine: ModelEngine, *, most_in_flight: int | None = None
) -> Infer:
    """The stage that asks the engine.

    Args:
        options: What was asked for.
        engine: Who answers.
        most_in_flight: Most requests at once, whatever the options say; `None` for
            no such limit.
    """
    stage = Infer(
        engine=engine,
        concurrency=options.concurrency or (None if options.is_local else "auto"),
        ordered=not options.unordered,
        seed_per_row=options.seed_per_row,
        dedupe=options.dedupe,
        limits=_limits(options, most_in_flight),
        hedge=Hedge() if options.hedge else None,
        answers=options.answers or "strict",
        reask=options.reask or 0,
        response_format=options.response_format,
        strict=False if options.no_strict else None,
        prices=options.priced,
        vectors=options.embed,
    )
    if options.timeout is not None:
        stage = replace(stage, timeout_s=options.timeout)
    if options.patience is not None:
        forever = math.isinf(options.patience)
        stage = replace(stage, patience_s=None if forever else options.patience)
    if options.attempts is not None:
        stage = replace(stage, retry=RetryPolicy(attempts=options.attempts))
    return stage


def _limits(options: RunOptions, most_in_flight: int | None) -> Limits:
    given = options.budget_limits
    budget = None
    if "usd" in given and options.priced is None:
        raise click.UsageError(
            "--budget usd= needs prices: --input-price and --output-price, or --prices"
        )
    if given:
        budget = Budget(
            usd=given.get("usd"),
            tokens=_whole(given.get("tokens")),
            calls=_whole(given.get("calls")),
            minutes=given.get("minutes"),
            prices=options.priced,
        )
    return Limits(
        requests_per_minute=options.requests_per_minute,
        tokens_per_minute=options.tokens_per_minute,
        budget=budget,
        in_flight=most_in_flight,
    )


def _whole(number: float | None) -> int | None:
    return None if number is None else math.ceil(number)


# Input.


def _source(options: RunOptions) -> Source:
    text = options.text_options
    if not _may_be_text(options):
        for name in text:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{option} is for text, which the input is not")
    csv_options = CsvOptions(**text)
    addresses = [name for name in options.inputs if _is_url(name)]
    if addresses:
        if len(options.inputs) > 1:
            raise click.UsageError("an address must be the only input")
        return UrlSource(url=addresses[0], format=options.format, options=csv_options)
    return FileSource(
        paths=options.inputs,
        format=options.format,
        options=csv_options,
        union=options.union,
        source_column=options.source_column,
        on_bad_row=options.on_bad_row or "refuse",
    )


def _is_url(name: str) -> bool:
    return name.lower().startswith(_URL_SCHEMES)


def _may_be_text(options: RunOptions) -> bool:
    """Whether what is said of text can be of use."""
    if options.format is not None:
        return format_called(options.format).is_packed
    named = [format_of_name(name) for name in options.inputs]
    return any(one is None or one.is_packed for one in named)


# Prompts.


def _prompting(options: RunOptions) -> tuple[Prompting, Instructions]:
    sampling = SamplingParams.parse(options.sampling_params, what="sampling parameters")
    if options.function is not None:
        function = Function.load(options.function)
        instructions = function.instructions
        instructions = replace(
            instructions,
            model=options.model or instructions.model,
            sampling=instructions.sampling.merged(sampling),
        )
        return Render(function=replace(function, instructions=instructions)), (
            instructions
        )
    instructions = Instructions(
        model=options.model,
        system_prompt=_system_prompt(options.system_prompt),
        schema=None if options.schema is None else _schema(options.schema),
        sampling=sampling,
    )
    if options.messages is not None:
        return Messages(column=options.messages, instructions=instructions), (
            instructions
        )
    separator = "\n" if options.separator is None else unescaped(options.separator)
    prompts = Prompts(
        column=options.column,
        separator=separator,
        images=options.image,
        instructions=instructions,
    )
    return prompts, instructions


def _system_prompt(given: str | None) -> str | None:
    if given is None or not given.startswith("@"):
        return given
    path = Path(given[1:])
    try:
        return _read(path, "--system-prompt").decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigurationError(f"--system-prompt {path}: not UTF-8 text") from None


def _schema(path: Path) -> OutputSchema:
    what = f"--schema {path}"
    try:
        definition = json.loads(_read(path, "--schema"))
    except ValueError as error:
        raise ConfigurationError(f"{what}: not JSON: {error}") from None
    if not isinstance(definition, dict):
        raise ConfigurationError(f"{what}: a JSON Schema here is a JSON object")
    try:
        return OutputSchema.parse(definition, what="schema")
    except ConfigurationError as error:
        raise ConfigurationError(f"{what}: {error}") from None


def _read(path: Path, option: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{option} {path}: {why(error)}") from None
