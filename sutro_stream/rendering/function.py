"""The stage that renders a Function: declared inputs checked, template filled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

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
from sutro_stream.rendering.text import TEXT, as_text, text_of
from sutro_stream.rendering.validation import check
from sutro_stream.values.ascii import is_ascii
from sutro_stream.values.fingerprint import fingerprint
from sutro_stream.values.function import Function, FunctionInput, InputType
from sutro_stream.values.instructions import Example, PromptForm
from sutro_stream.values.layout import Shape
from sutro_stream.values.outcomes import ErrorKind, RowError
from sutro_stream.values.prompts import Prompt, PromptBatch
from sutro_stream.values.rows import RowBatch
from sutro_stream.values.template import Template

Part: TypeAlias = str | pa.Scalar
"""A field by name, or the literal text between fields."""

_NOTHING = pa.scalar("", TEXT)
# Well below what offsets of 32 bits reach.
_NARROW_BYTES = 1 << 30
_MOST_UTF8_BYTES = 4
_READS_AS = {
    InputType.TEXT: "text",
    InputType.INTEGER: "an integer",
    InputType.NUMBER: "a number",
    InputType.BOOLEAN: "true or false",
    InputType.JSON: "JSON",
    InputType.IMAGE: "an image",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Render:
    """Make a prompt of each row by a Function.

    A row without a value for a required input, or with one that does not read as
    its declared type, is refused in place; the others go on.

    Attributes:
        function: Declares inputs, template and instructions.
    """

    function: Function

    @property
    def yields(self) -> type[Prompt]:
        """See `Stage`."""
        return Prompt

    def columns_needed(self, wanted: Columns) -> Columns:
        """See `Stage`."""
        if wanted is None:
            return None
        return wanted | {declared.name for declared in self.function.inputs}

    def bind(self, shape: Shape, context: RunContext) -> PromptStep:
        """See `Stage`."""
        del context
        return function_step(self.function, shape)


def function_step(
    function: Function, shape: Shape, *, rendered: str | None = None
) -> PromptStep:
    """One run of a Function over what arrives.

    Args:
        function: Declares inputs, template and instructions.
        shape: What arrives.
        rendered: Column whose values are prompts already, null where they are to be
            made; `None` for no such column.

    Raises:
        ConfigurationError: A column is missing.
    """
    schema, rows = shape.as_rows()
    fields = [_Field.of(declared) for declared in function.inputs]
    constants = {
        field.name: field.fallback
        for field in fields
        if field.fallback is not None and field.name not in schema.names
    }
    # Where no input is a column, all prompts would be the same: a mistake.
    some = len(constants) < len(fields)
    require_columns(
        [
            *(
                field.name
                for field in fields
                if not some or field.name not in constants
            ),
            *([] if rendered is None else [rendered]),
        ],
        schema,
        what=f"Function {function.name!r}",
        ambiguous=shape.ambiguous,
    )
    columns = [field for field in fields if field.name not in constants]
    filling = _Filling(
        fields=tuple(one for one in columns if one.type is not InputType.IMAGE),
        images=tuple(one for one in columns if one.type is InputType.IMAGE),
        parts=_parts(function.template, constants),
        rendered=rendered,
    )
    instructions = function.instructions
    if function.examples:
        instructions = replace(instructions, examples=_examples(function))
    if filling.images:
        instructions = replace(instructions, form=PromptForm.CONTENT)
    return PromptStep(
        shape=Shape(kind=PromptBatch, rows=schema, instructions=instructions),
        rows=rows,
        prompts=filling.prompts,
        identity=_identity(function, rendered),
        uses=frozenset(
            [one.name for one in columns] + ([] if rendered is None else [rendered])
        ),
        opens_files=bool(filling.images),
    )


def _examples(function: Function) -> tuple[Example, ...]:
    """A Function's examples, rendered as its rows are.

    Raises:
        ConfigurationError: One lacks an input, or has one of another type.
    """
    rows = [example.inputs for example in function.examples]
    texts = [one for one in function.inputs if one.type is not InputType.IMAGE]
    records = pa.RecordBatch.from_pydict(
        {one.name: _column([row.get(one.name) for row in rows]) for one in texts}
    )
    filling = _Filling(
        fields=tuple(map(_Field.of, texts)),
        images=(),
        parts=_parts(function.template, {}),
        rendered=None,
    )
    prompts = filling.prompts(RowBatch(records=records, first_index=0))
    for offset, error in prompts.refused.items():
        raise ConfigurationError(
            f"Function {function.name!r}: examples[{offset}]: {error.message}"
        )
    return tuple(
        Example(prompt=text, answer=example.answer)
        for text, example in zip(
            prompts.texts.to_pylist(), function.examples, strict=True
        )
    )


def _column(values: list[Any]) -> pa.Array:
    """JSON values as a column, as text where their types differ."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([text_of(value) for value in values], TEXT)


def _identity(function: Function, rendered: str | None) -> dict[str, str]:
    revision = "" if function.revision is None else f" revision {function.revision}"
    inputs = [
        [field.name, field.type, field.required, field.default]
        for field in function.inputs
    ]
    template = [function.template.literals, function.template.fields]
    identity = {
        "Function": f"{function.name}{revision}",
        "inputs": fingerprint(inputs),
        "prompt template": fingerprint(template),
    }
    if function.examples:
        examples = [[one.inputs, one.output] for one in function.examples]
        identity["examples"] = fingerprint(examples)
    if rendered is not None:
        identity["rendered prompts"] = rendered
    return identity


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """A declared input, ready for columns.

    Attributes:
        name: Column and field.
        type: What the values must read as.
        fallback: Text where there is no value, `None` to refuse the row.
        missing: Why such a row is refused.
        wrong: Why a row with another type is refused.
    """

    name: str
    type: InputType
    fallback: str | None
    missing: RowError
    wrong: RowError

    @classmethod
    def of(cls, declared: FunctionInput) -> _Field:
        name = declared.name
        fallback = text_of(declared.default)
        if fallback is None and not declared.required:
            fallback = ""
        return cls(
            name=name,
            type=declared.type,
            fallback=fallback,
            missing=RowError(
                kind=ErrorKind.MISSING_VALUE,
                message=f"the required input {name!r} has no value",
                field=name,
            ),
            wrong=RowError(
                kind=ErrorKind.WRONG_TYPE,
                message=f"the input {name!r} is not {_READS_AS[declared.type]}",
                field=name,
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Filling:
    """The Function over the columns that a stream has.

    Attributes:
        fields: Inputs that are columns of text.
        images: Inputs that are columns of images.
        parts: The template.
        rendered: See `function_step`.
    """

    fields: tuple[_Field, ...]
    images: tuple[_Field, ...]
    parts: tuple[Part, ...]
    rendered: str | None

    def prompts(self, rows: RowBatch) -> PromptBatch:
        joined = self._joined(rows)
        if joined is not None:
            return prompt_batch(rows, joined, [])
        columns: dict[str, pa.Array] = {}
        refusals: list[Refusal] = []
        for field in self.fields:
            checked = check(rows.records.column(field.name), field.type)
            texts = checked.texts
            if checked.wrong is not None:
                refusals.append((checked.wrong, field.wrong))
            if checked.missing is not None and field.fallback is None:
                refusals.append((checked.missing, field.missing))
            elif checked.missing is not None:
                fallback = pa.scalar(field.fallback, TEXT)
                texts = pc.if_else(checked.missing, fallback, texts)
            columns[field.name] = texts
        texts = _fill(self.parts, columns, row_count=len(rows))
        if self.rendered is not None:
            given = as_text(rows.records.column(self.rendered)).values
            is_given = given.is_valid()
            texts = pc.if_else(is_given, given, texts)
            refusals = [(pc.and_not(mask, is_given), why) for mask, why in refusals]
        if self.images:
            texts = self._with_images(rows, texts, refusals)
        return prompt_batch(rows, texts, refusals)

    def _with_images(
        self, rows: RowBatch, texts: pa.Array, refusals: list[Refusal]
    ) -> pa.Array:
        shown = []
        for field in self.images:
            parts, faults = image_parts(rows.records.column(field.name))
            shown.append(parts)
            is_required = field.fallback is None
            refusals += image_refusals(field.name, faults, is_required=is_required)
        return content(texts, shown)

    def _joined(self, rows: RowBatch) -> pa.Array | None:
        """The prompts where every input is text in every row: nothing to refuse.

        `None` where something has to be looked at more closely. Offsets stay as narrow
        as they come, which is a tenth of the time.
        """
        columns = {field.name: rows.records.column(field.name) for field in self.fields}
        size = sum(
            columns[part].nbytes
            if isinstance(part, str)
            else len(part.as_py()) * _MOST_UTF8_BYTES * len(rows)
            for part in self.parts
        )
        if (
            not columns
            or self.rendered is not None
            or self.images
            or size > _NARROW_BYTES
            or any(field.type is not InputType.TEXT for field in self.fields)
            or any(
                column.type != pa.string() or column.null_count
                for column in columns.values()
            )
        ):
            return None
        texts = _fill(self.parts, columns, row_count=len(rows), kind=pa.string())
        # Inputs that the template leaves out are looked at too; and two broken texts,
        # joined, may look like a whole one.
        is_seen = columns.keys() <= set(self.parts) and is_ascii(texts)
        if not is_seen and not all(map(_is_utf8, columns.values())):
            return None
        return texts.cast(TEXT)


def _is_utf8(texts: pa.Array) -> bool:
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _parts(template: Template, constants: Mapping[str, str]) -> tuple[Part, ...]:
    """The template in turn as literals and fields.

    A field that is the same for all rows becomes part of the literal around it.
    """
    parts: list[Part] = []
    literal = template.literals[0]
    for name, following in zip(template.fields, template.literals[1:], strict=True):
        if name in constants:
            literal += constants[name] + following
            continue
        if literal:
            parts.append(pa.scalar(literal, TEXT))
        parts.append(name)
        literal = following
    if literal:
        parts.append(pa.scalar(literal, TEXT))
    return tuple(parts)


def _fill(
    parts: Sequence[Part],
    columns: Mapping[str, pa.Array],
    *,
    row_count: int,
    kind: pa.DataType = TEXT,
) -> pa.Array:
    """The template filled with columns that are all of this kind of text."""
    filled = [
        columns[part] if isinstance(part, str) else part.cast(kind) for part in parts
    ]
    if not any(isinstance(part, str) for part in parts):
        same = filled[0] if filled else _NOTHING.cast(kind)
        return pa.repeat(same, row_count)
    return pc.binary_join_element_wise(*filled, _NOTHING.cast(kind))
