"""The API in the words of OpenAPI 3.1, for people, tools and tests.

Paths come from `routes` and bodies of requests from what reads them, so that neither
can be described otherwise than it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from sutro_stream.wire import progress, routes
from sutro_stream.wire.openapi_bodies import Schema, reference, schemas
from sutro_stream.wire.query import (
    DEFAULT_EXPIRY_S,
    MAX_EXPIRY_S,
    MAX_LIST_LIMIT,
    ResultsFormat,
)
from sutro_stream.wire.routes import Route

JSON = "application/json"
PARQUET = "application/vnd.apache.parquet"
ZIP = "application/zip"
BYTES = "application/octet-stream"
FORM = "multipart/form-data"

_BINARY: Schema = {"type": "string", "format": "binary"}
_TRUTH: Schema = {"type": "boolean", "default": False}
_VARIABLE = re.compile(r"\{(\w+)\}")
_VARIABLES: Mapping[str, str] = {
    "job_id": "As a submission was answered with.",
    "name": "Of a Function of the account.",
    "idempotency_key": "As it was sent with a submission; a UUID.",
    "key": "Of a link; its slashes may stand as they are.",
}

# Whatever is asked with a key: without one, and where the deployment has stopped.
_ALWAYS = (401, 503)
_BODY = (400, 408, 413, 422)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Operation:
    """What a route is for.

    Attributes:
        summary: A sentence.
        answers: Schema of the body by content type, with status 200.
        refusals: Statuses besides 401 and 503.
        query: Schemas by name; none of them is required.
        headers: As `query`.
        body: Name of the schema of the request's body, `None` without one.
        body_type: Its content type.
        ranges: Whether a part can be asked for.
        signed: Whether its address is signed instead of a key being sent.
    """

    summary: str
    answers: Mapping[str, Schema]
    refusals: tuple[int, ...] = ()
    query: Mapping[str, Schema] | None = None
    headers: Mapping[str, Schema] | None = None
    body: str | None = None
    body_type: str = JSON
    ranges: bool = False
    signed: bool = False


def description(*, version: str) -> dict[str, Any]:
    """The whole API as one document.

    Addresses in it are relative to where it lies, so that it is right wherever the
    routes are mounted.

    Args:
        version: Of this software.
    """
    here = [{"url": "."}]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sutro batch API",
            "version": version,
            "description": (
                "Every error is an object with a text `detail`, a stable `code` and "
                "the `request_id` under which the server's log has it. Optional "
                "fields may be null, which is the same as leaving them out."
            ),
        },
        "servers": [{"url": "v1"}, *here],
        "paths": {
            **{route.path: dict(_path(route)) for route in _OPERATIONS},
            routes.HEALTH_PATH: {
                "servers": here,
                "get": _open(
                    "health", "Whether the server works.", reference("Health")
                ),
            },
            routes.OPENAPI_PATH: {
                "servers": here,
                "get": _open("openapi", "This document.", {"type": "object"}),
            },
        },
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "key": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "`Key`, a space and an API key.",
                }
            },
        },
        "security": [{"key": []}],
    }


def described_routes() -> tuple[Route, ...]:
    """The routes below the prefixes."""
    return tuple(_OPERATIONS)


def _path(route: Route) -> Iterator[tuple[str, Any]]:
    operation = _OPERATIONS[route]
    names = _VARIABLE.findall(route.path)
    if names:
        yield "parameters", [_variable(name) for name in names]
    identity = "_".join(re.findall(r"\w+", route.path))
    for method in route.methods:
        other = "" if method == route.methods[0] else f"_{method.lower()}"
        yield method.lower(), _operation(operation, method, identity + other)


def _operation(operation: _Operation, method: str, identity: str) -> Schema:
    described: Schema = {
        "operationId": identity,
        "summary": operation.summary,
        "responses": _responses(operation, has_body=method != "HEAD"),
    }
    parameters = [
        *_parameters("query", operation.query),
        *_parameters("header", operation.headers),
    ]
    if parameters:
        described["parameters"] = parameters
    if operation.signed:
        described["security"] = []
    if operation.body is not None:
        content = {operation.body_type: {"schema": reference(operation.body)}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _responses(operation: _Operation, *, has_body: bool) -> Schema:
    found: Schema = {"200": _response(200, operation.answers)}
    if operation.ranges:
        found["206"] = _response(206, operation.answers)
    always = (503,) if operation.signed else _ALWAYS
    for status in sorted({*always, *operation.refusals}):
        found[str(status)] = _response(status, {JSON: reference("Refusal")})
    if not has_body:
        found.pop("206", None)
        found.pop("416", None)
        for response in found.values():
            response.pop("content", None)
    return found


def _response(status: int, bodies: Mapping[str, Schema]) -> Schema:
    return {
        "description": HTTPStatus(status).phrase,
        "content": {kind: {"schema": schema} for kind, schema in bodies.items()},
    }


def _parameters(
    place: str, given: Mapping[str, Schema] | None
) -> Iterator[Mapping[str, Any]]:
    for name, schema in (given or {}).items():
        yield {"name": name, "in": place, "schema": schema}


def _variable(name: str) -> Schema:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": _VARIABLES[name],
        "schema": {"type": "string", "minLength": 1},
    }


def _open(identity: str, summary: str, schema: Schema) -> Schema:
    return {
        "operationId": identity,
        "summary": summary,
        "security": [],
        "responses": {
            "200": _response(200, {JSON: schema}),
            "503": _response(503, {JSON: reference("Refusal")}),
        },
    }


def _json(name: str) -> Mapping[str, Schema]:
    return {JSON: reference(name)}


_SELECTION: Mapping[str, Schema] = {
    "include_inputs": _TRUTH,
    "include_cumulative_logprobs": _TRUTH,
}

_OPERATIONS: Mapping[Route, _Operation] = {
    routes.SUBMIT: _Operation(
        summary="Submit a job; once answered it survives whatever happens.",
        answers=_json("Submitted"),
        refusals=(*_BODY, 403, 404, 409, 507),
        headers={routes.IDEMPOTENCY_HEADER: {"type": "string", "format": "uuid"}},
        body="Submission",
    ),
    routes.SUBMISSION: _Operation(
        summary="What became of a submission with an idempotency key.",
        answers=_json("SubmissionStatus"),
        refusals=(404, 422),
    ),
    routes.JOB_STATUS: _Operation(
        summary="Where a job stands.", answers=_json("JobStatus"), refusals=(404,)
    ),
    routes.JOB: _Operation(
        summary="All about a job.", answers=_json("JobReply"), refusals=(404,)
    ),
    routes.LIST_JOBS: _Operation(
        summary="The account's jobs, newest first: all, or with `limit` a page.",
        answers=_json("Jobs"),
        refusals=(422,),
        query={
            "limit": {"type": "integer", "minimum": 1, "maximum": MAX_LIST_LIMIT},
            "cursor": {"type": "string"},
        },
    ),
    routes.CANCEL_JOB: _Operation(
        summary="Cancel a job.", answers=_json("Cancelled"), refusals=(404,)
    ),
    routes.JOB_PROGRESS: _Operation(
        summary="A job's progress, a JSON object a line, until it is final.",
        answers={progress.CONTENT_TYPE: {"type": "string"}},
        refusals=(404,),
    ),
    routes.JOB_RESULTS: _Operation(
        summary="A job's results as the SDK reads them.",
        answers=_json("EnvelopedColumns"),
        refusals=(*_BODY, 404, 409),
        body="ResultsRequest",
    ),
    routes.RESULTS: _Operation(
        summary="A job's results.",
        answers={JSON: reference("Columns"), ZIP: _BINARY, PARQUET: _BINARY},
        refusals=(400, 404, 409, 416, 422),
        query={
            "format": {"enum": [form.value for form in ResultsFormat]},
            **_SELECTION,
        },
        ranges=True,
    ),
    routes.RESULTS_URL: _Operation(
        summary="Links to a job's results as Parquet, good for a while without a key.",
        answers=_json("ResultsUrl"),
        refusals=(400, 404, 409, 422),
        query={
            "format": {"enum": [ResultsFormat.PARQUET.value]},
            **_SELECTION,
            "expires_in_seconds": {
                "type": "integer",
                "minimum": 1,
                "maximum": MAX_EXPIRY_S,
                "default": DEFAULT_EXPIRY_S,
            },
        },
    ),
    routes.ARTIFACT: _Operation(
        summary="What a link leads to.",
        answers={PARQUET: _BINARY},
        refusals=(403, 404, 409, 416),
        query={"expires": {"type": "integer"}, "signature": {"type": "string"}},
        ranges=True,
        signed=True,
    ),
    routes.AUTH_CHECK: _Operation(
        summary="Whether a key is good, and whose it is.", answers=_json("AuthChecked")
    ),
    routes.TRY_AUTHENTICATION: _Operation(
        summary="Whether a key is good.", answers=_json("Authenticated")
    ),
    routes.QUOTAS: _Operation(
        summary="What one job may be, by priority.", answers=_json("Quotas")
    ),
    routes.MODELS: _Operation(
        summary="The models that can be asked for.", answers=_json("Models")
    ),
    routes.RUN_FUNCTION: _Operation(
        summary="Answer one input with a Function.",
        answers=_json("FunctionRun"),
        refusals=(*_BODY, 404, 429, 502, 504),
        body="FunctionRunRequest",
    ),
    routes.CREATE_DATASET: _Operation(
        summary="Make an empty dataset.", answers=_json("DatasetCreated")
    ),
    routes.UPLOAD_TO_DATASET: _Operation(
        summary="Add a Parquet file to a dataset.",
        answers=_json("FileUploaded"),
        refusals=(*_BODY, 404, 409, 507),
        body="Upload",
        body_type=FORM,
    ),
    routes.LIST_DATASETS: _Operation(
        summary="The account's datasets, newest first.", answers=_json("Datasets")
    ),
    routes.LIST_DATASET_FILES: _Operation(
        summary="A dataset's files, in the order of their upload.",
        answers=_json("DatasetFiles"),
        refusals=(*_BODY, 404),
        query={"detailed": _TRUTH},
        body="DatasetRequest",
    ),
    routes.DOWNLOAD_FROM_DATASET: _Operation(
        summary="A file of a dataset as it was uploaded.",
        answers={BYTES: _BINARY},
        refusals=(*_BODY, 404),
        body="DatasetFileRequest",
    ),
}
