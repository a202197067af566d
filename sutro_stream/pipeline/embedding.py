"""The stage that asks for vectors in place of texts."""

from __future__ import annotations

from sutro_stream.engines.engine import Engine
from sutro_stream.flow.retry import RetryPolicy
from sutro_stream.pipeline.infer import Concurrency, Infer
from sutro_stream.pipeline.limits import Limits
from sutro_stream.values.prices import PriceList, Prices


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
