"""The table of refusals: what is asked, and with which status and code it is refused.

Every row also says that nothing is told which the asker does not know, and that a job
which runs at the same time is not disturbed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

KEY_SHAPED = "sk_live_" + "x" * 43
UUID = "a1b2c3d4-0000-4000-8000-000000000000"
NO_JOB = (404, "job_not_found")
NO_DATASET = (404, "dataset_not_found")
NO_FUNCTION = (404, "function_not_found")
NO_MODEL = (404, "model_not_found")
NO_KEY = (401, "unauthenticated")
NO_ROUTE = (404, "not_found")
BAD_LINK = (403, "invalid_link")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A request that is refused.

    Attributes:
        what: Who asks for what.
        method: Of HTTP.
        path: Words in braces stand for what the fixtures `theirs` and `site` have.
        refused: With this status and code.
        key: As for `Client.ask`, or the name of one of the site's.
        headers: Further ones.
        json: Body, words in braces as in `path`.
        data: Body, as it is.
    """

    what: str
    method: str = "GET"
    path: str
    refused: tuple[int, str]
    key: str | None = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    data: bytes | None = None


def submission(what: str, refused: tuple[int, str], **fields: Any) -> Case:
    """A submission that is refused."""
    return Case(
        what=what,
        method="POST",
        path="/v1/batch-inference",
        refused=refused,
        json={"inputs": ["a"], "model": "m", **fields},
    )


def posted(
    what: str, path: str, refused: tuple[int, str], body: Any, **more: Any
) -> Case:
    """A body of JSON that is refused."""
    return Case(what=what, method="POST", path=path, refused=refused, json=body, **more)


ROUTES = (
    ("POST", "/v1/batch-inference"),
    ("GET", "/v1/job-status/{my_job}"),
    ("GET", "/v1/jobs/{my_job}"),
    ("GET", "/v1/list-jobs"),
    ("GET", "/v1/job-cancel/{my_job}"),
    ("POST", "/v1/job-cancel/{my_job}"),
    ("GET", "/v1/stream-job-progress/{my_job}"),
    ("POST", "/v1/job-results"),
    ("GET", "/v1/jobs/{my_job}/results?format=json"),
    ("GET", "/v1/jobs/{my_job}/results-url"),
    ("GET", "/v1/auth/check"),
    ("GET", "/v1/try-authentication"),
    ("GET", "/v1/get-quotas"),
    ("GET", "/v1/models"),
    ("POST", "/v1/functions/shout/run"),
    ("GET", f"/v1/batch-submissions/{UUID}"),
    ("GET", "/v1/create-dataset"),
    ("POST", "/v1/upload-to-dataset"),
    ("POST", "/v1/list-datasets"),
    ("POST", "/v1/list-dataset-files"),
    ("POST", "/v1/download-from-dataset"),
)

KEYS = [
    Case(what=who, method=method, path=path, key=key, refused=NO_KEY)
    for method, path in ROUTES
    for who, key in (
        ("without a key", None),
        ("an unknown key", KEY_SHAPED),
        ("a revoked key", "revoked"),
    )
]

ODD_KEYS = [
    Case(
        what=f"authorization {value[:20]!r}",
        path="/v1/auth/check",
        key=None,
        headers={"Authorization": value},
        refused=NO_KEY,
    )
    for value in (
        "",
        "Key",
        "Key ",
        f"Basic {KEY_SHAPED}",
        f"Key {KEY_SHAPED} {KEY_SHAPED}",
        f"Key {'x' * 7000}",
        "Key \xfc\xf1\xee",
        "Key ' OR 1=1 --",
    )
]

OTHERS = [
    *(
        Case(what="another's job", method=method, path=path, refused=NO_JOB)
        for method, path in (
            ("GET", "/v1/job-status/{job}"),
            ("GET", "/v1/jobs/{job}"),
            ("GET", "/v1/job-cancel/{job}"),
            ("POST", "/v1/job-cancel/{job}"),
            ("GET", "/v1/stream-job-progress/{job}"),
            ("GET", "/v1/jobs/{job}/results?format=json"),
            ("GET", "/v1/jobs/{job}/results?format=parquet"),
            ("GET", "/v1/jobs/{job}/results-url"),
        )
    ),
    posted("another's job", "/v1/job-results", NO_JOB, {"job_id": "{job}"}),
    posted(
        "another's dataset",
        "/v1/list-dataset-files",
        NO_DATASET,
        {"dataset_id": "{dataset}"},
    ),
    posted(
        "another's dataset",
        "/v1/download-from-dataset",
        NO_DATASET,
        {"dataset_id": "{dataset}", "file_name": "rows.parquet"},
    ),
    submission(
        "another's dataset",
        NO_DATASET,
        inputs="{dataset}",
        column_name="text",
        job_priority=1,
    ),
    posted(
        "another's Function",
        "/v1/functions/secret-of-bob/run",
        NO_FUNCTION,
        {"input": "a"},
    ),
    submission("another's Function", NO_MODEL, model="secret-of-bob"),
]

LINKS = [
    Case(what=what, method=method, path=path, key=None, refused=BAD_LINK)
    for what, method, path in (
        ("no signature", "GET", "{artifact}"),
        ("no expiry", "GET", "{artifact}?signature=x"),
        ("a forged signature", "GET", "{artifact}?expires=99999999999&signature=x"),
        ("a signature of none", "GET", "{artifact}?expires=99999999999&signature="),
        ("a longer life", "GET", "{artifact}?{signed}0"),
        ("an expiry given twice", "GET", "{artifact}?expires=99999999999&{signed}"),
        ("a far expiry", "GET", "{artifact}?expires=" + "9" * 5000 + "&signature=x"),
        ("a negative expiry", "GET", "{artifact}?expires=-1&signature=x"),
        ("another's digits", "GET", "{artifact}?expires=%D9%A1&signature=x"),
        ("half a character", "GET", "{artifact}?expires=9&signature=%ff%fe"),
        ("another method", "GET", "{artifact}?{head_signed}"),
        ("another method", "HEAD", "{artifact}?{signed}"),
        ("another file", "GET", "{artifact}x?{signed}"),
        (
            "another's folder",
            "GET",
            "/v1/artifacts/jobs/alice/{job}/results/a?{signed}",
        ),
        ("a way out", "GET", "{artifact}/../../../../deployment.sqlite?{signed}"),
        ("a way out", "GET", "{artifact}%2F..%2F..%2Fdeployment.sqlite?{signed}"),
    )
]

HOSTILE_WORDS = (
    "..",
    "%2e%2e",
    "..%2F..%2Fdeployment.sqlite",
    "..%5C..%5Cdeployment.sqlite",
    "%2Fetc%2Fpasswd",
    "job-1%00",
    "%00",
    "%ff%fe",
    "%ED%A0%80",
    "%F0%9F%92%A9",
    "x" * 7000,
    "%27%20OR%201=1--",
    "%25252e%25252e",
    "job-%0d%0aSet-Cookie:a=b",
    "None",
    "*",
)

NAMES = [
    *(
        Case(what=f"a job {word[:20]}", path=f"/v1/{route}/{word}", refused=NO_JOB)
        for word in HOSTILE_WORDS[2:]
        for route in ("jobs", "job-status", "job-cancel", "stream-job-progress")
    ),
    *(
        posted(
            f"a Function {word[:20]}",
            f"/v1/functions/{word}/run",
            NO_FUNCTION,
            {"input": "a"},
        )
        for word in HOSTILE_WORDS[2:]
    ),
    *(
        submission(f"a model {word[:20]!r}", NO_MODEL, model=word)
        for word in (
            "../secret-of-bob",
            "../alice/shout",
            "secret-of-bob/../secret-of-bob",
            "/etc/passwd",
            "..",
            "a\x00b",
            "\U0001f4a9",
            "m" * 100_000,
        )
    ),
    *(
        posted("a job's ID", "/v1/job-results", NO_JOB, {"job_id": word})
        for word in ("", "..", "../../x", "\x00", "j" * 100_000)
    ),
    *(
        Case(
            what=f"an idempotency key {word[:20]}",
            path=f"/v1/batch-submissions/{word}",
            refused=(422, "invalid_idempotency_key"),
        )
        for word in HOSTILE_WORDS[2:]
    ),
    Case(
        what="a submission that nobody made",
        path=f"/v1/batch-submissions/{UUID}",
        refused=(404, "submission_not_found"),
    ),
]

ROUTING = [
    Case(what="no route", path="/v1/nothing", refused=NO_ROUTE),
    Case(what="a way out", path="/v1/../../../../etc/passwd", refused=NO_ROUTE),
    Case(what="a way out", path="/%2e%2e/%2e%2e/etc/passwd", refused=NO_ROUTE),
    Case(what="half a character", path="/v1/%ff", refused=NO_ROUTE),
    Case(what="half a pair", path="/v1/%ED%A0%80", refused=NO_ROUTE),
    Case(what="a NUL", path="/v1/jobs%00", refused=NO_ROUTE),
    Case(what="the end of a line", path="/v1/%0d%0aA:b", refused=NO_ROUTE),
    Case(what="data", path="/deployment.sqlite", refused=NO_ROUTE),
    *(
        Case(
            what="a wrong method",
            method=method,
            path="/v1/jobs/x",
            refused=(405, "method_not_allowed"),
        )
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")
    ),
]


CASES = [*KEYS, *ODD_KEYS, *OTHERS, *LINKS, *NAMES, *ROUTING]


@pytest.mark.parametrize(
    "case",
    CASES,
    ids=[f"{at} {case.what} {case.path}"[:60] for at, case in enumerate(CASES)],
)
@pytest.mark.usefixtures("beside")
async def test_it_is_refused(
    case: Case, client: Any, theirs: Mapping[str, str], told: Any
) -> None:
    """With the status and the code of the table."""
    words = dict(theirs)
    body = filled(case.json, words)
    key = client.site.revoked if case.key == "revoked" else case.key
    more = {"json": body} if case.data is None else {"data": case.data}
    answer = await client.ask(
        case.method,
        filled(case.path, words),
        key=key,
        headers=case.headers,
        **(more if body is not None or case.data is not None else {}),
    )
    if case.method == "HEAD":
        assert (answer.status, answer.body) == (case.refused[0], b"")
    else:
        assert told(answer, client.site) == case.refused


def filled(value: Any, words: Mapping[str, str]) -> Any:
    """With the words in braces replaced."""
    if isinstance(value, str):
        for word, text in words.items():
            value = value.replace(f"{{{word}}}", text)
        return value
    if isinstance(value, dict):
        return {name: filled(item, words) for name, item in value.items()}
    return value
