"""The words pipelines are written in; those for places are in `places`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from sutro_stream.deployments.deployment import Deployment
from sutro_stream.engines.engine import Engine
from sutro_stream.engines.hedging import Hedge
from sutro_stream.flow.retry import RetryPolicy
from sutro_stream.pipeline.infer import Concurrency, Infer
from sutro_stream.pipeline.limits import Limits
from sutro_stream.pipeline.places import listed
from sutro_stream.pipeline.row_stages import BatchFunction, Limit, MapBatches
from sutro_stream.pipeline.submit import PATIENCE, Submit
from sutro_stream.pipeline.validation import Answers
from sutro_stream.rendering.columns import Prompts
from sutro_stream.rendering.function import Render
from sutro_stream.rendering.messages import Messages
from sutro_stream.values.function import Function
from sutro_stream.values.instructions import Instructions, ResponseFormat
from sutro_stream.values.prices import PriceList, Prices
from sutro_stream.values.sampling import SamplingParams
from sutro_stream.values.schema import OutputSchema


def limit(rows: int) -> Limit:
    """Only the first `rows` rows of the source; nothing behind them is read."""
    return Limit(rows=rows)


def render(function: Function) -> Render:
    """Check rows against a Function's inputs and fill its template.

    A row that does not fit is refused: it gets an outcome that says why, and is
    not sent.
    """
    return Render(function=function)


def prompts(
    column: str | Sequence[str] | None = None,
    *,
    separator: str = "\n",
    images: Sequence[str] = (),
    system_prompt: str | None = None,
    json_schema: Mapping[str, Any] | None = None,
    sampling_params: Mapping[str, Any] | None = None,
    model: str | None = None,
) -> Prompts:
    """Use the text of one column, or of several joined, as prompts.

    Args:
        column: One name or several; `None` is `prompt`, or else the first column.
        separator: Between the texts of several columns.
        images: Columns of images to show behind the text, for models that see: http(s)
            addresses, which the endpoint fetches; names of files, or bytes, which are
            sent (20 MB each at most). A row without one of them is refused.
        system_prompt: System message, `None` for none.
        json_schema: JSON Schema the answers must have, `None` for free text.
        sampling_params: By vLLM's names, `temperature` and `max_tokens` for example.
        model: Model to ask for, `None` leaves it to the engine.

    Raises:
        ConfigurationError: The schema or a sampling parameter is not valid.
    """
    return Prompts(
        column=column if column is None or isinstance(column, str) else tuple(column),
        separator=separator,
        images=listed(images) or (),
        instructions=_instructions(system_prompt, json_schema, sampling_params, model),
    )


def messages(
    column: str,
    *,
    system_prompt: str | None = None,
    json_schema: Mapping[str, Any] | None = None,
    sampling_params: Mapping[str, Any] | None = None,
    model: str | None = None,
) -> Messages:
    """Use the chat messages of a column: whole conversations, sent as they are.

    The column holds lists of messages with role and content, or JSON text of such a
    list. A row with something else is refused in place.

    Args:
        column: Its name.
        system_prompt: System message before those of the row, `None` for none.
        json_schema: As for `prompts`.
        sampling_params: As for `prompts`.
        model: As for `prompts`.

    Raises:
        ConfigurationError: The schema or a sampling parameter is not valid.
    """
    return Messages(
        column=column,
        instructions=_instructions(system_prompt, json_schema, sampling_params, model),
    )


def _instructions(
    system_prompt: str | None,
    json_schema: Mapping[str, Any] | None,
    sampling_params: Mapping[str, Any] | None,
    model: str | None,
) -> Instructions:
    return Instructions(
        model=model,
        system_prompt=system_prompt,
        schema=_schema(json_schema, what="json_schema"),
        sampling=SamplingParams.parse(sampling_params or {}),
    )


def infer(  # noqa: PLR0913 - the stage's whole configuration
    engine: Engine,
    *,
    concurrency: Concurrency | None = None,
    ordered: bool = True,
    timeout_s: float | None = 600.0,
    patience_s: float | None = 600.0,
    retry: RetryPolicy | None = None,
    window_rows: int | None = None,
    seed_per_row: bool = False,
    dedupe: bool = False,
    limits: Limits | None = None,
    hedge: Hedge | None = None,
    retry_truncated: int | None = None,
    answers: Answers = "strict",
    reask: int = 0,
    response_format: ResponseFormat | None = None,
    strict: bool | None = None,
    prices: Prices | PriceList | None = None,
) -> Infer:
    """Ask the engine: one request for each prompt, many at once.

    Args:
        engine: Who answers; open while the pipeline runs.
        concurrency: Requests in flight while rows remain; `"auto"` finds the number
            at which the endpoint answers best, and keeps to its rate limits. `None`
            for what suits the engine.
        ordered: Whether results come in input order, or as they complete.
        timeout_s: Longest time of one attempt, in seconds; `None` for no limit.
        patience_s: Longest wait for an endpoint that answers nobody, or whose limits
            leave nothing, in seconds; then the run ends with `RunStoppedError`, into a
            file as incomplete, and can be gone on with. `None` waits for ever.
        retry: When a failed request is sent again, `None` for the defaults.
        window_rows: Most rows between the oldest result not taken and the newest
            request; `None` for the default.
        seed_per_row: Whether every row gets a seed of its own, a function of the
            sampling parameters' `seed` and the row's index.
        dedupe: Whether equal prompts are asked once, and the answer given to all
            their rows; mind that random sampling would have answered differently.
        limits: What the run may ask for in a minute, and in all; `None` for no limit.
        hedge: When a late row is asked a second time, the first answer counting;
            `None` for never.
        retry_truncated: Where an answer was cut off at the token limit and is useless
            so, ask once more and allow this many tokens; `None` for never.
        answers: Under a schema, `"strict"` takes JSON alone; `"extract"` also the last
            value that conforms in a text that has more in it: behind thoughts, in a
            code fence, among words. `Outcome.extracted` says so.
        reask: How many times an answer is asked for again that does not conform to the
            schema, with what it was and what is wrong with it; 0 for never.
        response_format: How the endpoint is told of the schema: `"json_schema"`,
            `"json_object"` or `"none"`; `None` as the instructions say: in full.
        strict: Whether the endpoint is to keep to it strictly; `None` as they say: yes.
        prices: For `Statistics.cost_usd`; `None` for those of the budget, if any.

    Raises:
        ConfigurationError: A number is out of range.
    """
    return Infer(
        engine=engine,
        concurrency=concurrency,
        ordered=ordered,
        timeout_s=timeout_s,
        patience_s=patience_s,
        retry=retry or RetryPolicy(),
        window_rows=window_rows,
        seed_per_row=seed_per_row,
        dedupe=dedupe,
        limits=limits or Limits(),
        hedge=hedge,
        retry_truncated=retry_truncated,
        answers=answers,
        reask=reask,
        response_format=response_format,
        strict=strict,
        prices=prices,
    )


def embed(  # noqa: PLR0913 - the stage's whole configuration
    engine: Engine,
    *,
    concurrency: Concurrency | None = None,
    ordered: bool = True,
    timeout_s: float | None = 600.0,
    patience_s: float | None = 600.0,
    retry: RetryPolicy | None = None,
    dedupe: bool = False,
    limits: Limits | None = None,
    prices: Prices | PriceList | None = None,
) -> Infer:
    """Ask the engine for the vector of each prompt.

    The results' `output` is a list of numbers: of 32 bits in Parquet, JSON arrays in
    text files. What is no vector, or has another length than the run's first one, is
    its row's failure.

    Args:
        engine: An `EmbeddingEngine`, a `LocalEngine(embedding=True)`, or any whose
            answers are JSON arrays of numbers; open while the pipeline runs.
        concurrency: As for `infer`, like all others.
        ordered: See `infer`.
        timeout_s: See `infer`.
        patience_s: See `infer`.
        retry: See `infer`.
        dedupe: See `infer`.
        limits: See `infer`.
        prices: See `infer`.

    Raises:
        ConfigurationError: A number is out of range.
    """
    return Infer(
        engine=engine,
        concurrency=concurrency,
        ordered=ordered,
        timeout_s=timeout_s,
        patience_s=patience_s,
        retry=retry or RetryPolicy(),
        dedupe=dedupe,
        limits=limits or Limits(),
        prices=prices,
        vectors=True,
    )


def submit(  # noqa: PLR0913 - the stage's whole configuration
    deployment: Deployment,
    model: str | None = None,
    *,
    batch_rows: int = 1000,
    batch_bytes: int = 8 << 20,
    concurrency: int = 4,
    ordered: bool = True,
    priority: int = 1,
    sampling_params: Mapping[str, Any] | None = None,
    send_instructions: bool = True,
    columns: Sequence[str] | None = None,
    output_schema: Mapping[str, Any] | None = None,
    seed_per_row: bool = False,
    truncate_rows: bool = False,
    name: str | None = None,
    poll_s: float = 5.0,
    retry: RetryPolicy | None = None,
) -> Submit:
    """Have a deployment answer: a job for many rows, several jobs at once.

    Prompts are sent as they are. Rows are sent as objects, for a Function of the
    deployment to render. Jobs that are still running when the run is left are
    cancelled; after a crash, a run with a ledger finds its jobs again.

    Args:
        deployment: Who answers; open while the pipeline runs.
        model: Model or Function; `None` for the one that the prompts name, or else
            for the deployment's default.
        batch_rows: Most rows of a job.
        batch_bytes: Most bytes of a job's rows, as JSON; a larger row gets a job of
            its own.
        concurrency: Jobs in flight while rows remain. As many again may be in memory,
            waiting for an earlier one.
        ordered: Whether results come in input order, or as jobs end.
        priority: 0 for prototypes, 1 for production.
        sampling_params: By vLLM's names; over those that the prompts bring.
        send_instructions: Whether the system prompt and the schema of prompts are
            sent; not where `model` is a Function, which has its own.
        columns: Input columns that rows consist of, `None` for all.
        output_schema: JSON Schema of what is answered to rows, for typed output
            columns and a check; not sent. `None` for text.
        seed_per_row: Whether the deployment gives each row a random seed of its own.
        truncate_rows: Whether the deployment cuts rows that are too long.
        name: Of the jobs, at most 45 characters; `None` for none.
        poll_s: Seconds between two looks at a job that tells of no end by itself.
        retry: When a request is sent again, `None` for some five minutes' patience.

    Raises:
        ConfigurationError: A number is out of range, or a sampling parameter or the
            schema is not valid.
    """
    return Submit(
        deployment=deployment,
        model=model,
        batch_rows=batch_rows,
        batch_bytes=batch_bytes,
        concurrency=concurrency,
        ordered=ordered,
        priority=priority,
        sampling=SamplingParams.parse(sampling_params or {}),
        send_instructions=send_instructions,
        columns=listed(columns),
        output_schema=_schema(output_schema, what="output_schema"),
        seed_per_row=seed_per_row,
        truncate_rows=truncate_rows,
        name=name,
        poll_s=poll_s,
        retry=retry or PATIENCE,
    )


def map_batches(
    function: BatchFunction, *, schema: pa.Schema | None = None
) -> MapBatches:
    """Put each Arrow batch through an async function of your own.

    Args:
        function: Takes and returns a `pyarrow.RecordBatch`; it may change, drop
            and add rows, which are numbered anew behind it.
        schema: What it returns, `None` when that is what it receives.
    """
    return MapBatches(function=function, schema=schema)


def _schema(definition: Mapping[str, Any] | None, *, what: str) -> OutputSchema | None:
    return None if definition is None else OutputSchema.parse(definition, what=what)
