"""From options to a run over a deployment; nothing is opened or sent here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sutro_stream.cli.assembly import prompts_of, rows_of
from sutro_stream.cli.options import RunOptions
from sutro_stream.deployments.deployment import Deployment
from sutro_stream.pipeline.pipeline import Pipeline
from sutro_stream.pipeline.submit import Submit
from sutro_stream.settings import Settings
from sutro_stream.values.sampling import SamplingParams


def deployment_of(options: RunOptions, settings: Settings) -> Deployment:
    """The deployment asked for.

    Raises:
        ConfigurationError: Its address or key is not valid, or there is no key.
    """
    key = settings.deployment_key(next(iter(options.api_key_env), None))
    return Deployment(options.deployment or settings.deployment_url(), key)


def asked_of(options: RunOptions) -> Pipeline[Any]:
    """What is sent: rows for a published Function, and else prompts.

    Raises:
        ConfigurationError: Function, schema or a sampling parameter is not valid.
    """
    if options.published_function is not None:
        return rows_of(options)
    return prompts_of(options)[0]


def submission_of(options: RunOptions, deployment: Deployment) -> Submit:
    """The stage that submits.

    Raises:
        ConfigurationError: A sampling parameter is not valid.
    """
    stage = Submit(
        deployment=deployment,
        model=options.published_function or options.model,
        ordered=not options.unordered,
        seed_per_row=options.seed_per_row,
        # Prompts are sent without the columns that they were made of.
        columns=None if options.published_function is not None else (),
    )
    if options.published_function is not None:
        # Prompts bring theirs with them.
        given = options.sampling_params
        sampling = SamplingParams.parse(given, what="sampling parameters")
        stage = replace(stage, sampling=sampling)
    if isinstance(options.concurrency, int):
        stage = replace(stage, concurrency=options.concurrency)
    if options.batch_rows is not None:
        stage = replace(stage, batch_rows=options.batch_rows)
    if options.priority is not None:
        stage = replace(stage, priority=options.priority)
    return stage
