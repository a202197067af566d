"""The stage that takes prompts from columns, for work without a Function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from sutro_stream.errors import ConfigurationError
from sutro_stream.flow.stage import Columns, RunContext
from sutro_stream.rendering.images import content, image_parts, image_refusals
from sutro_stream.rendering.prompting import (
    PromptStep,
    Refusal,
    prompt_batch,
    require_columns,
)
from sutro_stream.rendering.text import TEXT, as_text
from sutro_stream.values.instructions import Instructions, PromptForm
from sutro_stream.values.layout import Shape
from sutro_stream.values.outcomes import ErrorKind, RowError
from sutro_stream.values.prompts import Prompt, PromptBatch
from sutro_stream.values.rows import RowBatch

_USUAL_NAME = "prompt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """Make a prompt of each row from one column, or of several joined.

    A row without a value has "" for it and keeps its place; but where an earlier
    call left a row without the answer that is asked for here, it is refused.

    Attributes:
        column: One name or several; `None` is the column `prompt` if there is one,
            else the first.
        separator: Text between the values of several columns.
        images: Columns of images, which stand behind the text: addresses, files of
            this machine, or bytes. A row without one of them is refused.
        instructions: What the prompts share.
    """

    column: str | Sequence[str] | None = None
    separator: str = "\n"
    images: Sequence[str] = ()
    instructions: Instructions = Instructions()

    def __post_init__(self) -> None:
        """Refuse an empty choice of columns."""
        if self.column is not None and not self.column:
            raise ConfigurationError("prompts: no column is named")

    @property
    def yields(self) -> type[Prompt]:
        """See `Stage`."""
        return Prompt

    def columns_needed(self, wanted: Columns) -> Columns:
        """See `Stage`."""
        # Which column is the first is known only when the source is open.
        if wanted is None or self.column is None:
            return None
        return wanted | {*_names(self.column), *self.images}

    def bind(self, shape: Shape, context: RunContext) -> PromptStep:
        """See `Stage`."""
        del context
        schema, rows = shape.as_rows()
        names = self._chosen(shape)
        require_columns(
            [*names, *self.images], schema, what="prompts", ambiguous=shape.ambiguous
        )
        joining = _Joining(
            columns=names,
            separator=self.separator,
            answers=frozenset(set(names) - set(shape.rows.names)),
            images=tuple(self.images),
        )
        instructions = self.instructions
        identity = {"columns": ", ".join(names), "separator": repr(self.separator)}
        if self.images:
            instructions = replace(instructions, form=PromptForm.CONTENT)
            identity["images"] = ", ".join(self.images)
        return PromptStep(
            shape=Shape(kind=PromptBatch, rows=schema, instructions=instructions),
            rows=rows,
            prompts=joining.prompts,
            identity=identity,
            uses=frozenset((*names, *self.images)),
            opens_files=bool(self.images),
        )

    def _chosen(self, shape: Shape) -> tuple[str, ...]:
        if self.column is not None:
            return _names(self.column)
        if shape.kind is not RowBatch:
            raise ConfigurationError(
                "prompts: name the column to ask about; after an earlier call there "
                "is no obvious one"
            )
        names: list[str] = shape.rows.names
        if not names:
            raise ConfigurationError("prompts: the input has no columns")
        return (_USUAL_NAME if _USUAL_NAME in names else names[0],)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Joining:
    """Chosen columns over the rows of one stream.

    Attributes:
        columns: Their names, in the order of the prompt.
        separator: Between them.
        answers: Those among them that an earlier call has added.
        images: Columns of images.
    """

    columns: tuple[str, ...]
    separator: str
    answers: frozenset[str]
    images: tuple[str, ...]

    def prompts(self, rows: RowBatch) -> PromptBatch:
        parts: list[pa.Array] = []
        refusals: list[Refusal] = []
        for name in self.columns:
            texts = as_text(rows.records.column(name))
            if texts.unreadable is not None:
                refusals.append((texts.unreadable, _unreadable(name)))
            if name in self.answers and texts.values.null_count:
                failed = rows.records.column("error").is_valid()
                unanswered = pc.and_(texts.values.is_null(), failed)
                if pc.any(unanswered).as_py():
                    refusals.append((unanswered, _unanswered(name)))
            parts.append(texts.values.fill_null(""))
        prompts = parts[0]
        if len(parts) > 1:
            separator = pa.scalar(self.separator, TEXT)
            prompts = pc.binary_join_element_wise(*parts, separator)
        if self.images:
            shown = []
            for name in self.images:
                image, faults = image_parts(rows.records.column(name))
                shown.append(image)
                refusals += image_refusals(name, faults)
            prompts = content(prompts, shown)
        return prompt_batch(rows, prompts, refusals)


def _names(column: str | Sequence[str]) -> tuple[str, ...]:
    return (column,) if isinstance(column, str) else tuple(column)


def _unreadable(name: str) -> RowError:
    return RowError(
        kind=ErrorKind.WRONG_TYPE,
        message=f"the column {name!r} is not text",
        field=name,
    )


def _unanswered(name: str) -> RowError:
    return RowError(
        kind=ErrorKind.MISSING_VALUE,
        message=f"the row has no {name!r}: it failed in an earlier call",
        field=name,
    )
