"""What a submission asks for: the fields of `batch-inference` besides its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any

import orjson
from pydantic import Field, StrictBool, StrictInt, StrictStr, TypeAdapter

from sutro_stream.errors import ConfigurationError
from sutro_stream.values.sampling import SamplingParams
from sutro_stream.values.schema import OutputSchema
from sutro_stream.wire.api_error import invalid
from sutro_stream.wire.json_body import checked, json_object, one_line

RESERVED_COLUMNS = frozenset(
    {
        "inputs",
        "outputs",
        "cumulative_logprobs",
        "confidence_score",
        "inference_result",
    }
)
"""Names of result columns, which a carried ID column cannot have."""

MAX_SCHEMA_BYTES = 256 << 10
"""Longest JSON Schema; compiling it takes a microsecond for each byte."""

PRIORITIES = (0, 1)
"""0 for prototypes, 1 for production."""

_Name = Annotated[StrictStr, Field(max_length=45)]
_Description = Annotated[StrictStr, Field(max_length=512)]
_Priority = Annotated[StrictInt, Field(json_schema_extra={"enum": list(PRIORITIES)})]


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """The fields of a submission; `None` is absent or null.

    Attributes:
        model: As asked for, `None` for the deployment's default.
        column_name: Column of the prompts.
        id_column_name: Column to be carried to the results.
        system_prompt: Of a standalone model.
        json_schema: Of a standalone model; a valid JSON Schema.
        sampling_params: Those that are set, each known and in its range.
        priority: 0 or 1.
        cost_estimate: Whether to estimate instead of running.
        seed_per_row: Whether each row gets a random seed of its own.
        truncate_rows: Whether rows that are too long are cut.
        name: At most 45 characters.
        description: At most 512 characters.
    """

    model: str | None = None
    column_name: str | None = None
    id_column_name: str | None = None
    system_prompt: str | None = None
    json_schema: Mapping[str, Any] | None = None
    sampling_params: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 0
    cost_estimate: bool = False
    seed_per_row: bool = False
    truncate_rows: bool = False
    name: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionFields:
    """The fields as they are named on the wire; others are ignored."""

    model: StrictStr | None = None
    column_name: StrictStr | None = None
    id_column_name: StrictStr | None = None
    system_prompt: StrictStr | None = None
    json_schema: dict[str, Any] | None = None
    sampling_params: dict[str, Any] | None = None
    job_priority: _Priority = 0
    cost_estimate: StrictBool = False
    dryrun: StrictBool = False
    random_seed_per_input: StrictBool = False
    truncate_rows: StrictBool = False
    name: _Name | None = None
    description: _Description | None = None


def parse_submission(fields: bytes) -> Submission:
    """Check the fields of a submission.

    Pure: whether model, columns and quotas exist is for others to say.

    Args:
        fields: A JSON object of everything but `inputs`; nulls mean absent and
            unknown names are ignored.

    Raises:
        ApiError: 400 when it is not JSON; 422 naming the field that does not fit.
    """
    given = checked(_adapter(), json_object(fields))
    if given.job_priority not in PRIORITIES:
        raise invalid("job_priority: there are the priorities 0 and 1")
    if given.id_column_name in RESERVED_COLUMNS:
        message = (
            f"id_column_name: {given.id_column_name!r} is the name of a result "
            "column; rename the column in the input"
        )
        raise invalid(message)
    _check_schema(given.json_schema)
    return Submission(
        model=given.model,
        column_name=given.column_name,
        id_column_name=given.id_column_name,
        system_prompt=given.system_prompt,
        json_schema=given.json_schema,
        sampling_params=_sampling_params(given.sampling_params),
        priority=given.job_priority,
        cost_estimate=given.cost_estimate or given.dryrun,
        seed_per_row=given.random_seed_per_input,
        truncate_rows=given.truncate_rows,
        name=given.name,
        description=given.description,
    )


@cache
def _adapter() -> TypeAdapter[SubmissionFields]:
    return TypeAdapter(SubmissionFields)


def _check_schema(definition: Mapping[str, Any] | None) -> None:
    if definition is not None:
        try:
            # What can just be written alone could not be written inside a reply.
            written = orjson.dumps([[[[definition]]]])
        except TypeError:
            raise invalid("json_schema: nested too deeply") from None
        if len(written) > MAX_SCHEMA_BYTES:
            raise invalid(f"json_schema: longer than {MAX_SCHEMA_BYTES} bytes")
        try:
            OutputSchema.parse(definition, what="json_schema")
        except ConfigurationError as error:
            raise invalid(one_line(str(error))) from None


def _sampling_params(data: Mapping[str, Any] | None) -> Mapping[str, Any]:
    try:
        params = SamplingParams.parse(data or {})
    except ConfigurationError as error:
        raise invalid(one_line(str(error))) from None
    except RecursionError:
        raise invalid("sampling_params: nested too deeply") from None
    if params.n not in {None, 1}:
        raise invalid("sampling_params: n: one answer for each row is supported")
    return params.given()
