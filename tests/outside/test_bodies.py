"""Bodies that are not what they should be: refused by name, and nothing is left."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import anyio
import pytest

MALFORMED = (400, "invalid_json")
INVALID = (422, "invalid_request")
TOO_LARGE = (413, "body_too_large")
QUOTA = (403, "quota_exceeded")
ENCODING = (400, "malformed_body")
DEEP = 100_000

pytestmark = pytest.mark.usefixtures("beside")


def fields(**values: Any) -> bytes:
    """A submission with these fields."""
    return json.dumps({"inputs": ["a"], "model": "m", **values}).encode()


def raw(name: str, value: str) -> bytes:
    """A submission with a field that is written by hand."""
    return f'{{"inputs": ["a"], "model": "m", "{name}": {value}}}'.encode()


BODIES: list[tuple[str, bytes, tuple[int, str]]] = [
    ("nothing", b"", MALFORMED),
    ("a space", b" ", MALFORMED),
    ("null", b"null", MALFORMED),
    ("an array", b"[]", MALFORMED),
    ("a text", b'"inputs"', MALFORMED),
    ("no JSON", b"inputs=a", MALFORMED),
    ("its end missing", b'{"inputs": ["a", "b', MALFORMED),
    ("more behind it", b'{"inputs": ["a"]} {}', MALFORMED),
    ("a comma too many", b'{"inputs": ["a",]}', MALFORMED),
    ("NULs", b"\0" * 1000, MALFORMED),
    ("Latin-1", '{"inputs": ["é"]}'.encode("latin-1"), MALFORMED),
    ("Latin-1 beside", raw("x", '"é"').decode().encode("latin-1"), MALFORMED),
    ("UTF-16", '{"inputs": ["a"]}'.encode("utf-16"), MALFORMED),
    ("UTF-32", '{"inputs": ["a"]}'.encode("utf-32"), MALFORMED),
    ("surrogates in UTF-8", b'{"inputs": ["\xed\xa0\x80"]}', MALFORMED),
    ("half a pair", b'{"inputs": ["\\ud800"]}', MALFORMED),
    ("half a pair as key", b'{"inputs": [{"\\udfff": 1}]}', MALFORMED),
    ("half a pair beside", raw("system_prompt", '"\\ud800"'), MALFORMED),
    ("half a pair unasked", raw("x", '"\\ud800"'), MALFORMED),
    ("NaN", raw("x", "NaN"), MALFORMED),
    ("NaN in a row", b'{"inputs": [NaN]}', MALFORMED),
    ("Infinity", raw("sampling_params", '{"top_p": Infinity}'), MALFORMED),
    ("an infinite number", raw("sampling_params", '{"top_p": 1e999}'), MALFORMED),
    ("a huge number", raw("job_priority", "9" * 5000), MALFORMED),
    ("a huge number of tokens", raw("sampling_params", '{"seed": 1e400}'), MALFORMED),
    ("huge tokens", raw("sampling_params", f'{{"seed": {"9" * 5000}}}'), MALFORMED),
    ("a float as number", raw("job_priority", "1.0"), INVALID),
    ("a truth as number", raw("job_priority", "true"), INVALID),
    ("deep rows", b'{"inputs": ' + b"[" * DEEP + b"]" * DEEP + b"}", MALFORMED),
    ("deep objects", b'{"inputs": [' + b'{"a":' * DEEP + b"}" * DEEP, MALFORMED),
    ("depth without end", b'{"inputs": ' + b"[" * DEEP, MALFORMED),
    ("depth beside", raw("x", "[" * DEEP + "]" * DEEP), MALFORMED),
    ("a deep schema", raw("json_schema", '{"not":' * 900 + "{}" + "}" * 900), INVALID),
    ("no rows", fields(inputs=[]), INVALID),
    ("rows of none", fields(inputs=None), INVALID),
    ("a number", fields(inputs=3), INVALID),
    ("an object", fields(inputs={"a": "b"}), INVALID),
    ("rows of rows", fields(inputs=[["a"]]), INVALID),
    ("an empty address", fields(inputs=""), INVALID),
    ("a file", fields(inputs="file:///etc/passwd"), INVALID),
    ("a path", fields(inputs="/etc/passwd"), INVALID),
    ("another scheme", fields(inputs="gopher://127.0.0.1/"), INVALID),
    ("too many rows", fields(inputs=["a"] * 1001), QUOTA),
    ("many small rows", b'{"inputs": [' + b"1," * 500_000 + b"1]}", QUOTA),
    ("too large", fields(inputs=["a" * (1 << 20)]), TOO_LARGE),
    ("a long name", fields(name="n" * 46), INVALID),
    ("a name of nothing but accents", fields(name="\u0301" * 46), INVALID),
    ("parameters unknown", fields(sampling_params={"heat": 1}), INVALID),
    (
        "deep parameters",
        raw("sampling_params", '{"a":' * 900 + "1" + "}" * 900),
        INVALID,
    ),
]


@pytest.mark.parametrize(
    ("body", "refused"), [case[1:] for case in BODIES], ids=[case[0] for case in BODIES]
)
async def test_a_submission_is_refused(
    client: Any, told: Any, body: bytes, refused: tuple[int, str]
) -> None:
    """Whatever is in its body."""
    answer = await client.ask("POST", "/v1/batch-inference", data=body)
    assert told(answer, client.site) == refused


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"null", 422),
        (b"[1]", 422),
        (b'{"input": ' + b"[" * DEEP, 400),
        (b'{"input": {"text": ' + b"[" * 900 + b"]" * 900 + b"}}", 422),
        (b'{"input": "\\ud800"}', 400),
        (b'{"input": {"text": NaN}}', 400),
        (b'{"input": {"text": "a", "\\u0000": 1}}', 422),
        (b'{"input": {}}', 422),
        (b'{"input": 3}', 422),
        (b'{"input": {"text": {"url": "http://127.0.0.1/"}}}', 422),
        (b'{"input": "a", "confidence_scoring": 1}', 422),
        (b"x" * (33 << 20), 413),
    ],
    ids=lambda value: repr(value[:30] if isinstance(value, bytes) else value)[:30],
)
async def test_a_function_run_is_refused(
    client: Any, told: Any, body: bytes, status: int
) -> None:
    """Before a model is asked."""
    answer = await client.ask("POST", "/v1/functions/shout/run", data=body)
    assert told(answer, client.site)[0] == status


@pytest.mark.parametrize(
    "path", ["/v1/job-results", "/v1/list-dataset-files", "/v1/download-from-dataset"]
)
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 422),
        (b"{}", 422),
        (b"[" * DEEP, 400),
        (b'{"job_id": 1, "dataset_id": 1}', 422),
        (b'{"job_id": null, "dataset_id": null}', 422),
        (b'"' + b"x" * (1 << 20) + b'"', 413),
    ],
    ids=["empty", "array", "object", "deep", "numbers", "nulls", "large"],
)
async def test_a_small_body_is_refused(
    client: Any, told: Any, path: str, body: bytes, status: int
) -> None:
    """On every route that takes one."""
    answer = await client.ask("POST", path, data=body)
    assert told(answer, client.site)[0] == status


# Packed where they are wanted: every process that runs tests reads this file.
ENCODED: list[tuple[str, Callable[[], bytes], tuple[int, str] | None]] = [
    ("gzip", lambda: b"no gzip at all", ENCODING),
    ("deflate", lambda: b"no deflate at all", ENCODING),
    ("gzip", lambda: gzip.compress(fields())[:-12], None),
    ("gzip", lambda: gzip.compress(b"\0" * (64 << 20)), TOO_LARGE),
    ("deflate", lambda: zlib.compress(b"[" * (64 << 20)), TOO_LARGE),
    ("gzip", lambda: gzip.compress(gzip.compress(fields())), MALFORMED),
]


@pytest.mark.parametrize(
    ("coding", "body", "refused"),
    ENCODED,
    ids=["no gzip", "no deflate", "cut", "gzip bomb", "deflate bomb", "twice"],
)
async def test_a_packed_body_is_refused(
    client: Any,
    told: Any,
    coding: str,
    body: Callable[[], bytes],
    refused: tuple[int, str] | None,
) -> None:
    """By its size after unpacking, and when it cannot be unpacked."""
    answer = await client.ask(
        "POST",
        "/v1/batch-inference",
        data=body(),
        headers={"Content-Encoding": coding},
    )
    found = told(answer, client.site)
    assert found[0] == 400 if refused is None else found == refused


async def test_a_body_of_no_told_length_is_refused_while_it_comes(
    client: Any, told: Any
) -> None:
    """The answer does not wait for the end."""
    answered = anyio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b" " * ((1 << 20) + 1)
        await answered.wait()

    answer = await client.ask("POST", "/v1/batch-inference", data=endless())
    answered.set()
    assert told(answer, client.site) == TOO_LARGE


def form(**parts: str | tuple[bytes, str]) -> aiohttp.FormData:
    """A form; a part with two values is a file."""
    data = aiohttp.FormData(default_to_multipart=True)
    for name, value in parts.items():
        if isinstance(value, tuple):
            data.add_field(name, io.BytesIO(value[0]), filename=value[1])
        else:
            data.add_field(name, value)
    return data


FILE = (b"x", "a.parquet")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"no form", 400),
        (form(dataset_id="dataset-1"), 422),
        (form(file=FILE), 422),
        (form(dataset_id="x" * 500_000, file=FILE), 422),
        (form(other="x" * 500_000), 422),
        (form(dataset_id="x", **{f"p{at}": "x" for at in range(100)}), 422),
        (form(dataset_id="dataset-1", file=FILE), 404),
        (form(file=(b"x" * (1 << 20) + b"x", "a.parquet")), 413),
    ],
)
async def test_an_upload_is_refused(
    client: Any, told: Any, data: Any, status: int
) -> None:
    """With parts that are missing, too long, too many, or nobody's."""
    answer = await client.ask("POST", "/v1/upload-to-dataset", data=data)
    assert told(answer, client.site)[0] == status


async def test_nothing_of_them_is_left(client: Any) -> None:
    """No file lies among the uploads."""
    await client.ask("POST", "/v1/batch-inference", data=b"[" * DEEP)
    uploads = anyio.Path(client.site.folder) / "uploads"
    # Those of the jobs beside come and go.
    left = [path async for path in uploads.iterdir()]
    with anyio.fail_after(10):
        while left:
            left = [path for path in left if await path.exists()]
            await anyio.sleep(0.01)
