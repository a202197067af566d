"""The Function: a prompt with declared inputs and a declared answer, as data."""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, JsonValue, TypeAdapter

from sutro_stream.errors import ConfigurationError
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.parsing import parse_json, parse_mapping
from sutro_stream.values.sampling import SamplingParams
from sutro_stream.values.schema import OutputSchema
from sutro_stream.values.template import Template

NAME_RULE = (
    "at most 64 lower-case letters, digits and hyphens, the first and the last of "
    "them a letter or digit"
)
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")


class InputType(StrEnum):
    """What the values of an input must be; all are rendered as text."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    JSON = "json"
    IMAGE = "image"
    """An address, a file or bytes; shown behind the prompt's text, not in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionInput:
    """One declared input.

    Attributes:
        name: Column it is read from, and its name in the template.
        type: What its values must be.
        required: Whether a row without a value is refused, given no default.
        default: Value for rows without one, required or not; `None` is none, and
            then "" takes its place where the input is not required.
        description: For people.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1)]
    type: InputType = InputType.TEXT
    required: bool = True
    default: JsonValue = None
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confidence:
    """Whether and on which output field confidence is scored."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    enabled: bool = True
    field: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionExample:
    """Inputs and the answer they should get, shown to the model before each row.

    Attributes:
        inputs: Values of inputs, by name.
        output: The answer: a text, or the JSON value of it.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    inputs: Annotated[dict[str, JsonValue], Field(min_length=1)]
    output: JsonValue

    @property
    def answer(self) -> str:
        """The output as the text that the model is to have written."""
        output = self.output
        if isinstance(output, str):
            return output
        return json.dumps(output, ensure_ascii=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spec:
    """The file's fields as written; `Function` is what they mean."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    inputs: Annotated[list[FunctionInput], Field(min_length=1)]
    revision: Annotated[int, Field(ge=1)] | None = None
    description: str | None = None
    model: str | None = None
    system_prompt: str | None = None
    prompt_template: str | None = None
    output_schema: dict[str, JsonValue] | None = None
    sampling_params: dict[str, JsonValue] = field(default_factory=dict)
    confidence: Confidence | None = None
    examples: list[FunctionExample] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A published prompt: what it takes, what it asks and what it answers.

    Attributes:
        name: Lower-case slug of at most 64 characters.
        inputs: Declared inputs, in order.
        template: Compiled prompt template.
        instructions: Model, system prompt, output schema and sampling parameters.
        revision: Number of this immutable version, `None` when unpublished.
        description: For people.
        confidence: How confidence is scored, `None` for not at all.
        examples: Shown to the model before each row, in this order.
    """

    name: str
    inputs: tuple[FunctionInput, ...]
    template: Template
    instructions: Instructions
    revision: int | None = None
    description: str | None = None
    confidence: Confidence | None = None
    examples: tuple[FunctionExample, ...] = ()

    @property
    def has_images(self) -> bool:
        """Whether an input is an image."""
        return any(one.type is InputType.IMAGE for one in self.inputs)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Function:
        """Read and check a Function file (JSON).

        Raises:
            ConfigurationError: The file is missing, unreadable or not a Function;
                one line for each mistake.
        """
        what = str(path)
        try:
            data = Path(path).read_bytes().removeprefix(BOM_UTF8)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            message = f"Function file {what}: {reason.lower()}"
            raise ConfigurationError(message) from None
        return _function(parse_json(_adapter(), data, what=what), what=what)

    @classmethod
    def validate(
        cls, data: Mapping[str, Any] | str | bytes, *, what: str = "Function"
    ) -> Function:
        """Check a Function given as a mapping or as JSON text.

        Raises:
            ConfigurationError: It is not a Function; one line for each mistake.
        """
        if isinstance(data, Mapping):
            return _function(
                parse_mapping(_adapter(), dict(data), what=what), what=what
            )
        raw = data.encode() if isinstance(data, str) else data
        return _function(parse_json(_adapter(), raw, what=what), what=what)


def is_function_name(text: str) -> bool:
    """Whether a Function may have this name; if so, it is safe in a path."""
    return _SLUG.fullmatch(text) is not None


@cache
def _adapter() -> TypeAdapter[_Spec]:
    return TypeAdapter(_Spec)


def _function(spec: _Spec, *, what: str) -> Function:
    try:
        return _checked(spec)
    except ConfigurationError as error:
        raise ConfigurationError(f"{what}: {error}") from None


def _checked(spec: _Spec) -> Function:
    if not is_function_name(spec.name):
        raise ConfigurationError(f"name: {spec.name!r} is not a slug ({NAME_RULE})")
    names = [declared.name for declared in spec.inputs]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ConfigurationError(f"inputs: declared twice: {_listed(repeated)}")
    images = {one.name for one in spec.inputs if one.type is InputType.IMAGE}
    texts = [name for name in names if name not in images]
    schema = None
    if spec.output_schema is not None:
        schema = OutputSchema.parse(spec.output_schema)
    for index, example in enumerate(spec.examples):
        _check_example(example, f"examples[{index}]", texts, schema)
    return Function(
        name=spec.name,
        inputs=tuple(spec.inputs),
        template=_template(spec.prompt_template, texts, images),
        instructions=Instructions(
            model=spec.model,
            system_prompt=spec.system_prompt,
            schema=schema,
            sampling=SamplingParams.parse(spec.sampling_params),
        ),
        revision=spec.revision,
        description=spec.description,
        confidence=spec.confidence,
        examples=tuple(spec.examples),
    )


def _check_example(
    example: FunctionExample,
    what: str,
    names: Sequence[str],
    schema: OutputSchema | None,
) -> None:
    unknown = [name for name in example.inputs if name not in names]
    if unknown:
        raise ConfigurationError(
            f"{what}: no such input: {_listed(unknown)} (declared, other than images: "
            f"{_listed(names) or 'none'})"
        )
    if schema is None:
        return
    _, reason, _ = schema.check(example.answer)
    if reason is not None:
        raise ConfigurationError(f"{what}: its output is not by the schema: {reason}")


def _template(
    text: str | None, names: Sequence[str], images: Collection[str]
) -> Template:
    if text is None:
        if not names:
            return Template(literals=("",), fields=())
        literals = [f"{name}: " for name in names]
        joined = (literals[0], *(f"\n{literal}" for literal in literals[1:]), "")
        return Template(literals=joined, fields=tuple(names))
    template = Template.parse(text)
    shown = [name for name in dict.fromkeys(template.fields) if name in images]
    if shown:
        raise ConfigurationError(
            f"prompt_template: images are shown behind the text, not in it: "
            f"{_listed(shown)}"
        )
    unknown = [name for name in dict.fromkeys(template.fields) if name not in names]
    if unknown:
        raise ConfigurationError(
            f"prompt_template: no such input: {_listed(unknown)} (declared: "
            f"{_listed(names)}); a place is {{{{ field }}}}, without expressions or "
            "filters"
        )
    return template


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
