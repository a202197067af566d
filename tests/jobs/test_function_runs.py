"""Functions answered while their callers wait."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sutro_stream.testing import (
    ChatRequest,
    Constant,
    Reply,
    ScriptedChatServer,
    always,
    constant,
    with_latency,
)
from sutro_stream.wire.api_error import ApiError

SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["good", "bad"]}},
    "required": ["label"],
}


def parrot(request: ChatRequest) -> Reply:
    """Answer with the prompt itself."""
    return Reply(text=request.prompt)


async def test_values_are_rendered_and_the_answer_is_parsed(
    tmp_path: Path, catalogue: Any, deployment: Any, publish: Any
) -> None:
    """With tokens, price, model and revision."""
    publish(tmp_path, output_schema=SCHEMA)
    async with (
        ScriptedChatServer(constant('{"label": "good"}'), record_last=1) as server,
        deployment(tmp_path, catalogue(server, input_price=1e6)) as bench,
    ):
        run = await bench.service.run_function(
            "alice", "lead-qualifier", {"query": 3, "region": None}, confidence=True
        )
        request = server.requests[0]

    assert request.prompt == "3 in "
    assert run.output == {"label": "good"}
    assert (run.function.revision, run.model, run.confidence) == (1, "m", None)
    assert run.cost_usd == pytest.approx(float(run.usage.input_tokens))


async def test_a_text_alone_is_the_only_input(
    tmp_path: Path, catalogue: Any, deployment: Any, publish: Any
) -> None:
    """Which a Function with two does not have."""
    publish(tmp_path)
    publish(tmp_path, name="one", inputs=[{"name": "x"}], prompt_template="<{{ x }}>")
    async with (
        ScriptedChatServer(parrot) as server,
        deployment(tmp_path, catalogue(server)) as bench,
    ):
        service = bench.service
        run = await service.run_function("alice", "one", "a", confidence=False)
        with pytest.raises(ApiError) as caught:
            await service.run_function("alice", "lead-qualifier", "a", confidence=False)

    assert run.output == "<a>"
    assert caught.value.status == 422


@pytest.mark.parametrize(
    ("given", "code", "word"),
    [
        ({"query": "q"}, "invalid_input", "region"),
        ({"query": "q", "region": "r", "more": 1}, "invalid_input", "more"),
        (
            {"query": {"type": "image", "base64": "AA"}, "region": "r"},
            "unsupported_input",
            "query",
        ),
    ],
)
async def test_values_that_do_not_fit_are_refused(
    tmp_path: Path,
    catalogue: Any,
    deployment: Any,
    publish: Any,
    given: dict[str, Any],
    code: str,
    word: str,
) -> None:
    """Stricter than in batches: the caller is there to mend it."""
    publish(tmp_path)
    async with (
        ScriptedChatServer() as server,
        deployment(tmp_path, catalogue(server)) as bench,
    ):
        with pytest.raises(ApiError) as caught:
            await bench.service.run_function(
                "alice", "lead-qualifier", given, confidence=True
            )

    assert (caught.value.status, caught.value.code) == (422, code)
    assert word in caught.value.detail


async def run_refused(bench: Any, account: str = "alice") -> ApiError:
    """The error of a run."""
    with pytest.raises(ApiError) as caught:
        await bench.service.run_function(
            account, "lead-qualifier", {"query": "q", "region": "r"}, confidence=True
        )
    return caught.value


async def test_a_function_of_another_account_does_not_exist(
    tmp_path: Path, catalogue: Any, deployment: Any, publish: Any
) -> None:
    """Nor does a model count as a Function."""
    publish(tmp_path)
    async with (
        ScriptedChatServer() as server,
        deployment(tmp_path, catalogue(server)) as bench,
    ):
        error = await run_refused(bench, "bob")

    assert (error.status, error.code) == (404, "function_not_found")


async def test_an_account_above_its_rate_is_told_when_to_come_back(
    tmp_path: Path, catalogue: Any, deployment: Any, publish: Any
) -> None:
    """In whole seconds; other accounts go on."""
    publish(tmp_path)
    publish(tmp_path, account="bob")
    async with (
        ScriptedChatServer() as server,
        deployment(
            tmp_path, catalogue(server), function_requests_per_minute=1.0
        ) as bench,
    ):
        service, row = bench.service, {"query": "q", "region": "r"}
        await service.run_function("alice", "lead-qualifier", row, confidence=True)
        error = await run_refused(bench)
        await service.run_function("bob", "lead-qualifier", row, confidence=True)

    assert error.status == 429
    assert 1 <= int(error.headers["Retry-After"]) <= 61


async def test_a_run_ends_at_its_deadline(
    tmp_path: Path, catalogue: Any, deployment: Any, publish: Any
) -> None:
    """Before clients give up by themselves."""
    publish(tmp_path)
    slow = with_latency(parrot, Constant(seconds=30))
    async with (
        ScriptedChatServer(slow) as server,
        deployment(tmp_path, catalogue(server), function_deadline_s=0.2) as bench,
    ):
        error = await run_refused(bench)

    assert (error.status, error.code) == (504, "deadline_exceeded")


async def test_an_answer_that_is_none_is_the_models_fault(
    tmp_path: Path, catalogue: Any, deployment: Any, publish: Any
) -> None:
    """Neither a missing one nor one of the wrong form is passed on."""
    publish(tmp_path, output_schema=SCHEMA)
    async with (
        ScriptedChatServer(constant("not json")) as server,
        deployment(tmp_path, catalogue(server)) as bench,
    ):
        wrong = await run_refused(bench)
    async with (
        ScriptedChatServer(always(Reply(status=400))) as server,
        deployment(tmp_path, catalogue(server)) as bench,
    ):
        refused = await run_refused(bench)

    assert (wrong.status, wrong.code) == (502, "provider_error")
    assert refused.status in {422, 502}
