"""Which endpoints `run` reaches, with which keys, headers and fields."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from sutro_stream.cli.answering import AnsweringOptions
from sutro_stream.cli.reaching import endpoints_of, unused_proxies
from sutro_stream.settings import API_KEY_VARIABLE, Settings
from sutro_stream.testing import ScriptedChatServer
from sutro_stream.values.endpoint import Endpoint

Run: TypeAlias = Callable[..., Awaitable[tuple[int, str, str]]]

A, B = "http://a.example/v1", "http://b.example/v1"
KEYS = {"K1": "key-1", "K2": "key-2", API_KEY_VARIABLE: "usual"}


def described(**options: Any) -> list[Endpoint]:
    """The endpoints of these options."""
    return endpoints_of(AnsweringOptions(**options), Settings(KEYS))


@pytest.mark.parametrize(
    ("engine", "api_key_env", "pairs"),
    [
        ((A,), (), [(A, "usual")]),
        ((A,), ("K1",), [(A, "key-1")]),
        ((A,), ("K1", "K2"), [(A, "key-1"), (A, "key-2")]),
        ((A, B), (), [(A, "usual"), (B, "usual")]),
        ((A, B), ("K1",), [(A, "key-1"), (B, "key-1")]),
        ((A, B), ("K1", "K2"), [(A, "key-1"), (B, "key-2")]),
    ],
)
def test_addresses_and_keys_are_paired(
    engine: tuple[str, ...], api_key_env: tuple[str, ...], pairs: list[tuple[str, str]]
) -> None:
    """One key for all, several of one endpoint, or one of each."""
    found = described(engine=engine, api_key_env=api_key_env)
    assert [(endpoint.url, endpoint.api_key) for endpoint in found] == pairs


def test_all_parts_of_an_endpoint_are_options(tmp_path: Path) -> None:
    """By the names that they have in Python."""
    body = tmp_path / "body.json"
    body.write_text('{"top_k": 5}')
    (found,) = described(
        engine=(A,),
        dialect="mistral",
        stream=True,
        header=("X-A=1=2",),
        header_env=("X-B=K2",),
        extra_body=f"@{body}",
        transport="aiohttp",
        proxy="http://p:1",
        ca_file=tmp_path / "ca.pem",
    )
    assert found == Endpoint(
        url=A,
        api_key="usual",
        dialect="mistral",
        stream=True,
        headers={"X-A": "1=2", "X-B": "key-2"},
        extra_body={"top_k": 5},
        transport="aiohttp",
        proxy="http://p:1",
        ca_file=tmp_path / "ca.pem",
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--header", "X-A: SECRET"), "--header takes NAME=VALUE"),
        (("--header", "X-A: Basic SECRET="), "--header takes NAME=VALUE"),
        (("--header", "=SECRET"), "--header takes NAME=VALUE"),
        (("--header", "X-Ä=SECRET"), "a header's name holds characters"),
        (("--header", "X-A=SECRET\n"), "header 'X-A': its value holds characters"),
        (("--header-env", "X-A"), "--header-env takes NAME=VARIABLE"),
        (("--header-env", "X-A=SECRET"), "--header-env: no such environment variable"),
        (("--extra-body", "SECRET"), "--extra-body: not JSON"),
        (("--extra-body", "[1]"), "--extra-body: takes a JSON object"),
        (("--extra-body", '{"a": NaN}'), "NaN is no JSON number"),
        (("--extra-body", "@no.json"), "--extra-body no.json: no such file"),
        (("--extra-body", '{"stream": true}'), "use stream (--stream)"),
        (("--api-key-env", "SECRET"), "--api-key-env: no such environment variable"),
        (("--proxy", "socks5://u:SECRET@h"), "the proxy's address must be an http://"),
        (("--proxy", "http://h:1", "--transport", "fast"), "goes through no proxy"),
        (("--ca-file", "no.pem"), "ca_file no.pem: no such file"),
        (("--engine", "local"), "local cannot share the work"),
        (("--engine", "ftp://u:SECRET@h"), "unknown engine: --engine takes 'local'"),
        (
            ("--engine", B, "--engine", B, "--api-key-env", "A", "--api-key-env", "B"),
            "2 --api-key-env for 3 endpoints",
        ),
    ],
)
async def test_a_mistake_is_told_without_what_may_be_secret(
    run: Run, folder: Path, arguments: tuple[str, ...], told: str
) -> None:
    """Before anything is sent."""
    code, out, err = await run(
        *(folder / "rows.csv", "--column", "text", "-o", folder / "out.csv"),
        *("--engine", A, *arguments),
    )
    assert code in {1, 2}
    assert told in err
    assert "SECRET" not in out + err


@pytest.mark.parametrize("option", ["--header", "--extra-body", "--proxy", "--ca-file"])
async def test_the_embedded_model_has_no_endpoint(
    run: Run, folder: Path, option: str
) -> None:
    """What is an endpoint's is refused, with the option that names one."""
    code, _, err = await run(
        *(folder / "rows.csv", "--column", "text", "-o", folder / "out.csv"),
        *(option, "X=1"),
    )
    assert (code, f"{option} is for an endpoint; name it with --engine URL" in err) == (
        2,
        True,
    )


async def test_several_endpoints_share_the_work(run: Run, folder: Path) -> None:
    """As a group, each asked with its own key."""
    async with (
        ScriptedChatServer(api_key="key-1") as one,
        ScriptedChatServer(api_key="key-2") as two,
    ):
        code, _, _ = await run(
            *(folder / "rows.csv", "--column", "text", "-o", folder / "out.csv"),
            *("--engine", one.base_url, "--engine", two.base_url, "--model", "m"),
            *("--api-key-env", "K1", "--api-key-env", "K2", "--concurrency", "4"),
            environment=KEYS,
        )
        counts = one.statistics().requests, two.statistics().requests
    assert code == 0
    assert sum(counts) == 20
    assert all(counts)


async def test_several_keys_share_the_work_of_one_endpoint(
    run: Run, folder: Path
) -> None:
    """Each is used."""
    async with ScriptedChatServer(record_last=20) as server:
        code, _, _ = await run(
            *(folder / "rows.csv", "--column", "text", "-o", folder / "out.csv"),
            *("--engine", server.base_url, "--model", "m", "--concurrency", "4"),
            *("--api-key-env", "K1", "--api-key-env", "K2"),
            environment=KEYS,
        )
    assert code == 0
    used = Counter(request.headers["authorization"] for request in server.requests)
    assert set(used) == {"Bearer key-1", "Bearer key-2"}


async def test_a_changed_field_is_other_work(run: Run, folder: Path) -> None:
    """Answers to requests with another body are not used again."""
    async with ScriptedChatServer() as server:
        given = (
            *(folder / "rows.csv", "--column", "text", "-o", folder / "out.csv"),
            *("--engine", server.base_url, "--model", "m", "--keep-ledger"),
        )
        await run(*given, "--extra-body", '{"thinking": 1}')
        code, _, err = await run(
            *given, "--retry-failed", "--extra-body", json.dumps({"thinking": 2})
        )
    assert code != 0
    assert "extra body" in err


# Proxies of the environment.


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"HTTP_PROXY": "http://p:1"}, ["HTTP_PROXY is set, and not used"]),
        ({"http_proxy": "http://u:SECRET@p:1"}, ["http_proxy is set"]),
        ({"ALL_PROXY": "http://p:1"}, ["ALL_PROXY is set"]),
        ({"HTTPS_PROXY": "http://p:1"}, []),
        ({"HTTP_PROXY": ""}, []),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "b.org, .example"}, []),
        ({"HTTP_PROXY": "http://p:1", "no_proxy": "*"}, []),
        ({"HTTP_PROXY": "http://p:1", "no_proxy": "ample"}, ["HTTP_PROXY"]),
    ],
)
def test_a_proxy_that_is_not_used_is_told(
    environment: dict[str, str], told: list[str]
) -> None:
    """Once, by the variable that names it for such an address."""
    options = AnsweringOptions(engine=(A, B))
    found = list(unused_proxies(options, Settings(environment)))
    assert len(found) == len(told)
    for text, part in zip(found, told, strict=True):
        assert part in text
        assert "--proxy" in text
        assert "SECRET" not in text


@pytest.mark.parametrize(
    "options",
    [
        AnsweringOptions(),
        AnsweringOptions(engine=(A,), proxy="http://p:1"),
        AnsweringOptions(engine=("http://127.0.0.1:8000/v1", "http://localhost/v1")),
        AnsweringOptions(engine=("http://[::1]:8000/v1",)),
    ],
)
def test_nothing_is_told_where_no_proxy_is_needed(options: AnsweringOptions) -> None:
    """On this machine, or where one was given."""
    everywhere = Settings({"ALL_PROXY": "http://p:1", "HTTP_PROXY": "http://p:1"})
    assert list(unused_proxies(options, everywhere)) == []
