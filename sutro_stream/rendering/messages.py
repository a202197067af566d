"""The stage that takes chat messages from a column, and what such a column may be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from sutro_stream.flow.stage import Columns, RunContext
from sutro_stream.rendering.json_text import joined, quoted
from sutro_stream.rendering.prompting import (
    PromptStep,
    prompt_batch,
    require_columns,
)
from sutro_stream.rendering.text import TEXT, as_text
from sutro_stream.values.instructions import Instructions, PromptForm
from sutro_stream.values.layout import Shape
from sutro_stream.values.outcomes import ErrorKind, RowError
from sutro_stream.values.prompts import Prompt, PromptBatch
from sutro_stream.values.rows import RowBatch

# Well below what offsets of 32 bits reach, which joining lists needs.
_NARROW_BYTES = 1 << 30
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_FORM = "a list of messages with role and content, or JSON text of one"
_NONE, _OTHER, _EMPTY = "has no messages", f"is not {_FORM}", "is a list of no messages"
_ROLE = f"has a message whose role is none of {', '.join(_ROLES)}"


class _Message(msgspec.Struct):
    """What a message must have; all else that it has is sent as it is."""

    role: str
    content: msgspec.Raw = msgspec.Raw(b"null")


_decode = msgspec.json.Decoder(list[_Message]).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Messages:
    """Take the whole conversation of each row from one column.

    The column holds lists of messages with role and content, or JSON text of such a
    list. A row without one, or with something else, is refused in place.

    Attributes:
        column: Its name.
        instructions: What the requests share; their system prompt stands before the
            messages.
    """

    column: str
    instructions: Instructions = Instructions()

    @property
    def yields(self) -> type[Prompt]:
        return Prompt

    def columns_needed(self, wanted: Columns) -> Columns:
        return None if wanted is None else wanted | {self.column}

    def bind(self, shape: Shape, context: RunContext) -> PromptStep:
        del context
        schema, rows = shape.as_rows()
        require_columns(
            [self.column], schema, what="messages", ambiguous=shape.ambiguous
        )
        instructions = replace(self.instructions, form=PromptForm.MESSAGES)
        return PromptStep(
            shape=Shape(kind=PromptBatch, rows=schema, instructions=instructions),
            rows=rows,
            prompts=self._prompts,
            identity={"messages": self.column},
            uses=frozenset({self.column}),
        )

    def _prompts(self, rows: RowBatch) -> PromptBatch:
        texts, faults = conversations(rows.records.column(self.column))
        refusals = [
            (mask, _refused(self.column, reason)) for reason, mask in faults.items()
        ]
        return prompt_batch(rows, texts, refusals)


def _refused(column: str, reason: str) -> RowError:
    return RowError(
        kind=ErrorKind.MISSING_VALUE if reason is _NONE else ErrorKind.WRONG_TYPE,
        message=f"the column {column!r} {reason}",
        field=column,
    )


def conversations(column: pa.Array) -> tuple[pa.Array, dict[str, pa.Array]]:
    """Each row's messages as a JSON array.

    Returns:
        Texts; and where there is none, as masks by what is wrong.
    """
    if (plain := _plain(column)) is not None:
        return plain, {}
    if pa.types.is_nested(column.type) and not pa.types.is_struct(column.type):
        cells = column.to_pylist(maps_as_pydicts="strict")
        texts = pa.array([_written(cell) for cell in cells], TEXT)
    else:
        texts = pc.utf8_trim_whitespace(as_text(column).values)
    found = [_fault(text) for text in texts.to_pylist()]
    reasons = {reason for reason in found if reason is not None}
    return texts, {
        reason: pa.array([one is reason for one in found], pa.bool_())
        for reason in sorted(reasons)
    }


def _plain(column: pa.Array) -> pa.Array | None:
    """The texts where all messages are a known role and a text; `None` elsewhere.

    Column by column: an object for each message would cost more than its request.
    """
    if not _is_list(column.type) or column.null_count:
        return None
    wide = column.cast(pa.large_list(column.type.value_type))
    messages = wide.flatten()
    kind = messages.type
    if not pa.types.is_struct(kind) or messages.null_count:
        return None
    if sorted(field.name for field in kind) != ["content", "role"]:
        return None
    role, content = messages.field("role"), as_text(messages.field("content")).values
    is_text = pa.types.is_string(role.type) or pa.types.is_large_string(role.type)
    known = pa.array(_ROLES, role.type) if is_text else None
    if known is None or content.null_count or not pc.all(pc.is_in(role, known)).as_py():
        return None
    if not pc.all(pc.greater(pc.list_value_length(wide), 0)).as_py():
        return None
    written = joined('{"role":"', role.cast(TEXT), '","content":', quoted(content), "}")
    if written.nbytes > _NARROW_BYTES:
        return None
    offsets = pc.subtract(wide.offsets, wide.offsets[0]).cast(pa.int32())
    lists = pa.ListArray.from_arrays(offsets, written.cast(pa.string()))
    return joined("[", pc.binary_join(lists, ",").cast(TEXT), "]")


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _written(cell: Any) -> str | None:
    """A list of Python values as JSON, without what is null in it."""
    return None if cell is None else orjson.dumps(_given(cell), default=str).decode()


def _given(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _given(it) for name, it in value.items() if it is not None}
    return [_given(item) for item in value] if isinstance(value, list) else value


def _fault(text: str | None) -> str | None:
    """What is wrong with a row's messages, `None` for nothing."""
    if not text:
        return _NONE
    try:
        messages = _decode(text)
    except (msgspec.DecodeError, RecursionError):
        return _OTHER
    return next(_faults(messages), None) if messages else _EMPTY


def _faults(messages: list[_Message]) -> Iterator[str]:
    for message in messages:
        if message.role not in _ROLES:
            yield _ROLE
        # Null where a message calls tools; else text, or parts of several kinds.
        if bytes(memoryview(message.content)[:1]) not in {b'"', b"[", b"n"}:
            yield _OTHER
