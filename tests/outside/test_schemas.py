"""JSON Schemas that ask for more than an answer's form."""

from __future__ import annotations

import json
from functools import reduce
from typing import Any

import anyio
import pytest
from aiohttp import web

pytestmark = pytest.mark.usefixtures("beside")


def doubling(keyword: str) -> dict[str, Any]:
    """A short schema of 2 to the 40th ways."""
    definitions: dict[str, Any] = {"s0": {"type": "integer"}}
    for step in range(1, 40):
        part = {"$ref": f"#/$defs/s{step - 1}"}
        definitions[f"s{step}"] = {keyword: [part, part]}
    return {"$defs": definitions, "$ref": "#/$defs/s39"}


REFUSED: dict[str, Any] = {
    "all of twice": doubling("allOf"),
    "any of twice": doubling("anyOf"),
    "one of twice": doubling("oneOf"),
    "no type": {"type": "text"},
    "a file": {"$ref": "file:///etc/passwd"},
    "a broken reference": {"$ref": "#/$defs/nothing"},
    "a dialect": {"$schema": "https://example.com/dialect"},
    "a pattern that explodes": {"pattern": "((a{1000}){1000}){1000}"},
    "a pattern of brackets": {"pattern": "(" * 5000 + ")" * 5000},
    "more than is read": {"enum": ["x" * 300_000]},
    "many properties": {"properties": {f"p{at}": {} for at in range(20_000)}},
}


@pytest.mark.parametrize("schema", REFUSED.values(), ids=REFUSED.keys())
async def test_it_is_refused_at_once(client: Any, told: Any, schema: Any) -> None:
    """By its field, and without holding up anybody."""
    with anyio.fail_after(10):
        answer = await client.submit(["a"], json_schema=schema)
    assert told(answer, client.site) == (422, "invalid_request")
    assert "json_schema" in answer.json["detail"]
    assert len(answer.json["detail"]) < 1000


async def test_nothing_is_fetched_for_it(client: Any, told: Any) -> None:
    """A reference is no address."""
    asked = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(request.path)
        return web.json_response({"type": "string"})

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}/schema"
    try:
        for schema in (
            {"$ref": address},
            {"$dynamicRef": f"{address}#x"},
            {"$schema": address},
            {"$id": address, "$ref": "other"},
            {"properties": {"a": {"items": {"$ref": f"{address}#/a"}}}},
        ):
            refused = await client.submit(["a"], json_schema=schema)
            assert told(refused, client.site) == (422, "invalid_request")
    finally:
        await runner.cleanup()
    assert asked == []


def nested(levels: int) -> dict[str, Any]:
    """An object in an object."""
    return reduce(lambda inner, _: {"a": inner}, range(levels), dict[str, Any]())


TWICE: dict[str, Any] = {
    "properties": {"a": {"anyOf": [{"$ref": "#"}, {"allOf": [{"$ref": "#"}]}]}},
    "additionalProperties": False,
    "type": "object",
}
PATTERN = {"type": "object", "properties": {"a": {"pattern": "^(a|aa)+$"}}}


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        (TWICE, nested(200)),
        (PATTERN, {"a": "a" * 5000 + "b"}),
        ({"type": "object", "properties": {"a": {"$ref": "#"}}}, nested(500)),
        ({"not": {"$ref": "#"}}, {}),
        ({"items": {"anyOf": [{"type": "integer"}] * 4000}}, ["x"] * 3000),
    ],
    ids=["twice as much each level", "a pattern", "recursion", "no sense", "wide"],
)
async def test_an_answer_is_checked_in_no_time(
    client: Any, schema: Any, answer: Any
) -> None:
    """Or not at all; the jobs beside go on meanwhile."""
    text = f"say {json.dumps(answer)}"
    with anyio.fail_after(20):
        submitted = await client.submit([text], json_schema=schema)
        job = await client.ended(submitted.json["results"])
    assert job["status"] in {"SUCCEEDED", "FAILED"}


async def test_values_are_no_templates(client: Any) -> None:
    """What looks like a place in one is sent as it is."""
    nasty = ["{{ text }}", "{{text}}{{", "{% raw %}", "${text}", "{0.__class__}", "%s"]
    rows = [{"text": value} for value in nasty]
    submitted = await client.submit(rows, model="shout")
    job_id = submitted.json["results"]
    assert (await client.ended(job_id))["status"] == "SUCCEEDED"
    found = await client.ask("GET", f"/v1/jobs/{job_id}/results?format=json")
    assert found.json["outputs"] == [f"echo: text: {value}" for value in nasty]
