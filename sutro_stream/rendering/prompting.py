"""What both ways to make prompts share: the step, and how rows are refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
from anyio import to_thread
from anyio.abc import ObjectReceiveStream, ObjectSendStream

from sutro_stream.errors import ConfigurationError
from sutro_stream.rendering.text import TEXT
from sutro_stream.values.layout import Shape
from sutro_stream.values.outcomes import RowError
from sutro_stream.values.prompts import PromptBatch
from sutro_stream.values.rows import RowBatch

Refusal: TypeAlias = tuple[pa.Array, RowError]
"""A mask over the rows of a batch, and the reason for those where it is true."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptStep:
    """Makes prompts of what arrives, in order.

    Attributes:
        shape: What it sends.
        rows: From a batch that arrives to rows; answered ones get here as well.
        prompts: From rows to their prompts.
        uses: Columns that prompts are made of.
        opens_files: Whether that blocks, and has to be done by a thread.
        identity: See `Step`.
    """

    shape: Shape
    rows: Callable[[Any], Sequence[RowBatch]]
    prompts: Callable[[RowBatch], PromptBatch]
    identity: Mapping[str, str]
    uses: frozenset[str]
    opens_files: bool = False

    async def __call__(
        self, source: ObjectReceiveStream[Any], sink: ObjectSendStream[Any]
    ) -> None:
        """See `Step`."""
        async with source, sink:
            async for batch in source:
                for rows in self.rows(batch):
                    if not len(rows):
                        continue
                    if self.opens_files:
                        prompts = await to_thread.run_sync(self.prompts, rows)
                    else:
                        prompts = self.prompts(rows)
                    if rows.refused:
                        prompts = _without_refused(prompts)
                    await sink.send(prompts)


def _without_refused(prompts: PromptBatch) -> PromptBatch:
    """The prompts, but of those rows that were refused already."""
    errors = prompts.rows.errors()
    mask = pa.array([at in errors for at in range(len(prompts))], pa.bool_())
    texts = pc.if_else(mask, pa.scalar(None, prompts.texts.type), prompts.texts)
    refused = {**prompts.refused, **errors}
    return replace(prompts, texts=texts, refused=refused)


def prompt_batch(
    rows: RowBatch, texts: pa.Array, refusals: Sequence[Refusal]
) -> PromptBatch:
    """Prompts beside their rows; a row's first refusal counts."""
    if not refusals:
        return PromptBatch(rows=rows, texts=texts)
    reasons: dict[int, RowError] = {}
    for mask, error in refusals:
        for offset in pc.indices_nonzero(mask).to_pylist():
            reasons.setdefault(offset, error)
    refused = reduce(pc.or_, [mask for mask, _ in refusals])
    texts = pc.if_else(refused, pa.scalar(None, TEXT), texts)
    return PromptBatch(rows=rows, texts=texts, refused=reasons)


def require_columns(
    wanted: Iterable[str],
    schema: pa.Schema,
    *,
    what: str,
    ambiguous: frozenset[str] = frozenset(),
) -> None:
    """Check that every column is there, and only once.

    Raises:
        ConfigurationError: One is not; says which, and which columns there are.
    """
    names: list[str] = schema.names
    missing = [name for name in wanted if name not in names]
    if missing:
        listed = ", ".join(repr(name) for name in missing)
        there = ", ".join(repr(name) for name in names) or "none"
        raise ConfigurationError(
            f"{what}: the input has no column {listed} (there are: {there})"
        )
    twice = sorted(
        {name for name in wanted if name in ambiguous or names.count(name) > 1}
    )
    if twice:
        listed = ", ".join(repr(name) for name in twice)
        raise ConfigurationError(f"{what}: the input has more than one column {listed}")
