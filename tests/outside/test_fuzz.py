"""Requests made from the API's own description: none of them breaks anything."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import anyio
import psutil
import pytest
import requests
import schemathesis
from anyio import to_thread
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

SHORT_EXAMPLES = 8
LONG_EXAMPLES = 100
LONG_S = 3600.0
ANSWER_S = 30.0
GROWTH_BYTES = 200 << 20
GROWTH_FILES = 20

pytestmark = pytest.mark.usefixtures("beside")


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a request may name so that it gets further.

    Attributes:
        url: Where the deployment is.
        key: Of its account.
        words: For the variable parts of paths, by name.
    """

    url: str
    key: str
    words: Mapping[str, str]


def operations(known: Known) -> list[Any]:
    """All that the deployment says it can do."""
    described = requests.get(f"{known.url}/openapi.json", timeout=ANSWER_S)
    schema = schemathesis.openapi.from_dict(described.json())
    found = [result.ok() for result in schema.get_all_operations()]  # type: ignore[union-attr]
    assert len(found) > 20
    return found


def fuzz(operation: Any, known: Known, *, examples: int) -> None:
    """Send requests that fit an operation, and some that do not. Blocking."""
    cases = st.one_of(
        operation.as_strategy(generation_mode=GenerationMode.POSITIVE),
        operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
    )

    @given(case=cases, is_known=st.booleans())
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def send(case: Case[Any], is_known: bool) -> None:
        if is_known and case.path_parameters:
            for name in case.path_parameters:
                case.path_parameters[name] = known.words.get(name, "x")
        case.headers["Authorization"] = f"Key {known.key}"
        outside = case.path in {"/healthz", "/openapi.json"}
        response = case.call(
            base_url=known.url + ("" if outside else "/v1"),
            session=session,
            timeout=ANSWER_S,
        )
        hold(case, response)

    with requests.Session() as session:
        send()


def hold(case: Case[Any], response: Any) -> None:
    """Every answer is one that the description has."""
    status = response.status_code
    assert status < 500 or status in {502, 504}, (status, response.content)
    if status >= 400 and case.method != "HEAD":
        body = response.json()
        assert set(body) == {"detail", "code", "request_id"}
        assert all(isinstance(value, str) for value in body.values())
    if status not in {400, 405}:
        # Those come from below the routes, for what is no request.
        case.validate_response(
            response,
            checks=[
                status_code_conformance,
                content_type_conformance,
                response_schema_conformance,
            ],
        )


@pytest.fixture
def known(site: Any, theirs: Mapping[str, str]) -> Known:
    """Names of what is there."""
    words = {
        "job_id": theirs["my_job"],
        "name": "shout",
        "key": theirs["artifact"].partition("/artifacts/")[2],
        "idempotency_key": "a1b2c3d4-0000-4000-8000-000000000000",
    }
    return Known(url=site.url, key=site.key, words=words)


@pytest.mark.timeout(180)
async def test_no_request_breaks_anything(known: Known, site: Any) -> None:
    """No 5xx, no hang, nothing that the description does not have, and no growth."""
    await _fuzz(known, site, examples=SHORT_EXAMPLES, lasting_s=0)


@pytest.mark.long
@pytest.mark.timeout(LONG_S + 600)
async def test_an_hour_of_requests_breaks_nothing(known: Known, site: Any) -> None:
    """As above, over and over."""
    await _fuzz(known, site, examples=LONG_EXAMPLES, lasting_s=LONG_S)


async def _fuzz(known: Known, site: Any, *, examples: int, lasting_s: float) -> None:
    process = psutil.Process(site.pid)
    every = await to_thread.run_sync(operations, known)
    ends = time.monotonic() + lasting_s
    files, size_bytes = process.num_fds(), 0
    while True:
        for operation in every:
            await to_thread.run_sync(lambda: fuzz(operation, known, examples=examples))  # noqa: B023 - run at once
        # What the first round brings into memory stays, and is none that grows.
        size_bytes = size_bytes or process.memory_info().rss
        if time.monotonic() >= ends:
            break
    assert process.memory_info().rss - size_bytes < GROWTH_BYTES
    with anyio.fail_after(30):
        while process.num_fds() > files + GROWTH_FILES:  # noqa: ASYNC110 - nobody tells
            await anyio.sleep(0.05)
