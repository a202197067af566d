"""Requests made from the API's own description: none of them breaks anything."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
import psutil
import pytest
import requests
import schemathesis
from anyio import to_thread
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

# How long requests are made: a minute in each run of the tests, and an hour in the
# long one. In parts: what takes longer has the tracebacks of running threads printed,
# which can end the process.
PART_S = 30.0
PARTS = 2
LONG_PARTS = 120
ROUNDS = 1_000  # more than a part comes to
# In a row, of each operation.
EXAMPLES = 4
ANSWER_S = 30.0
GROWTH_BYTES = 64 << 20
GROWTH_FILES = 20
GROWTH_THREADS = 50  # as many as the event loop's pool may have
GROWTH_CHILDREN = 4

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


def fuzz(operation: Any, known: Known, *, number: int) -> None:
    """Send requests that fit an operation, and some that do not. Blocking.

    Args:
        operation: Of the description.
        known: What they may name.
        number: The same requests for the same number, and others for another one.
    """
    cases = st.one_of(
        operation.as_strategy(generation_mode=GenerationMode.POSITIVE),
        operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
    )

    @seed(number)
    @given(case=cases, is_known=st.booleans())
    @settings(
        max_examples=EXAMPLES,
        derandomize=False,  # which is to draw the same ones whatever the seed is
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


@pytest.fixture(scope="module")
def baselines() -> dict[int, Held]:
    """What processes had after their first round, by their IDs."""
    return {}


@pytest.mark.timeout(PART_S + 120)
@pytest.mark.parametrize(
    "part",
    [
        *range(PARTS),
        *(
            pytest.param(part, marks=pytest.mark.long)
            for part in range(PARTS, LONG_PARTS)
        ),
    ],
)
async def test_no_request_breaks_anything(
    known: Known, site: Any, baselines: dict[int, Held], part: int
) -> None:
    """No 5xx, no hang, nothing that the description does not have, and no growth.

    Other requests in each part, to the same deployment.
    """
    every = await to_thread.run_sync(operations, known)
    ends = time.monotonic() + PART_S
    for number in itertools.count(part * ROUNDS):
        for operation in every:
            await to_thread.run_sync(partial(fuzz, operation, known, number=number))
        # What the first round brings into memory stays, and is none that grows.
        before = baselines.setdefault(site.pid, Held.of(site))
        if time.monotonic() >= ends:
            break
    with anyio.fail_after(60):
        while (now := Held.of(site)).is_more_than(before):
            await anyio.sleep(0.5)
            print(f"before: {before}; now: {now}")  # noqa: T201 - shown where it fails


@dataclass(frozen=True, kw_only=True)
class Held:
    """What a deployment's process has.

    Attributes:
        size_bytes: Memory.
        files: Connections among them.
        threads: Of its own.
        children: Other processes.
    """

    size_bytes: int
    files: int
    threads: int
    children: int

    @classmethod
    def of(cls, site: Any) -> Held:
        """Now."""
        process = psutil.Process(site.pid)
        return cls(
            size_bytes=process.memory_info().rss,
            files=process.num_fds(),
            threads=process.num_threads(),
            children=len(process.children(recursive=True)),
        )

    def is_more_than(self, before: Held) -> bool:
        """Whether something has grown."""
        return (
            self.size_bytes > before.size_bytes + GROWTH_BYTES
            or self.files > before.files + GROWTH_FILES
            or self.threads > before.threads + GROWTH_THREADS
            or self.children > before.children + GROWTH_CHILDREN
        )
