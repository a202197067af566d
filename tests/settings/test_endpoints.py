"""Endpoints in a deployment's configuration."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from sutro_stream.errors import ConfigurationError
from sutro_stream.settings.deployment import DeploymentSettings
from sutro_stream.values.endpoint import Endpoint

SECRET = "sk-very-secret-key"


def endpoint_of(
    folder: Path, entry: str, environment: Mapping[str, str] | None = None
) -> Endpoint:
    """The endpoint that an entry describes."""
    path = folder / "deployment.toml"
    path.write_text(f"[[models.m.endpoints]]\n{entry}\n")
    settings = DeploymentSettings.load(
        path, data_dir=folder / "data", environment=environment or {}
    )
    model = settings.service.catalogue.model("m")
    assert model is not None
    return model.endpoints[0]


def test_an_endpoint_has_the_words_of_the_command(tmp_path: Path) -> None:
    """Files are looked for beside the configuration."""
    (tmp_path / "ca.pem").write_text("")
    found = endpoint_of(
        tmp_path,
        """
        url = "https://h.example/openai/deployments/d?api-version=2024-10-21"
        api_key_env = "KEY"
        dialect = "azure"
        stream = true
        headers = { X-Team = "growth" }
        header_env = { X-Token = "TOKEN" }
        extra_body = { service_tier = "flex", nested = { a = [1] } }
        transport = "aiohttp"
        proxy = "http://me:pass@proxy.example:3128"
        ca_file = "ca.pem"
        """,
        {"KEY": "k", "TOKEN": "t"},
    )
    assert found == Endpoint(
        url="https://h.example/openai/deployments/d?api-version=2024-10-21",
        api_key="k",
        dialect="azure",
        stream=True,
        headers={"X-Team": "growth", "X-Token": "t"},
        extra_body={"service_tier": "flex", "nested": {"a": [1]}},
        transport="aiohttp",
        proxy="http://me:pass@proxy.example:3128",
        ca_file=tmp_path / "ca.pem",
    )


async def test_a_key_may_come_from_a_command(tmp_path: Path) -> None:
    """Which is run when it is needed."""
    entry = f"""
        url = "https://h/v1"
        api_key_command = "{sys.executable} -c 'print(12)'"
    """
    key = endpoint_of(tmp_path, entry).api_key
    assert callable(key)
    found = key()
    assert not isinstance(found, str)
    assert await found == "12"


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (f"url='http://u:{SECRET}@h/v1'", "endpoints[0].url"),
        (f"url='http://h/v1#{SECRET}'", "endpoints[0].url"),
        (f"url='http://h/v1'\nheader_env={{X-A='{SECRET}'}}", "header_env"),
        (f"url='http://h/v1'\nheaders={{X-A='{SECRET}\\u0001'}}", "X-A"),
        (f"url='http://h/v1'\nproxy='socks5://u:{SECRET}@h'", "proxy's address"),
        ("url='http://h/v1'\nproxy='http://h'\ntransport='fast'", "through no proxy"),
        ("url='http://h/v1'\nca_file='no.pem'", "endpoints[0].ca_file"),
        ("url='http://h/v1'\nextra_body={messages=[]}", "extra_body: messages"),
        ("url='http://h/v1'\napi_key_env='A'\napi_key_command='b'", "exclude each"),
        ("url='http://h/v1'\napi_key_command=\"a 'b\"", "endpoints[0].api_key_command"),
        ("url='http://h/v1'\ndialect='x'", "endpoints[0].dialect"),
    ],
)
def test_a_mistake_is_told_when_the_file_is_read(
    tmp_path: Path, entry: str, told: str
) -> None:
    """By its place, and without what may be secret."""
    entry = entry.replace("='" + SECRET + "\\u0001'", '="' + SECRET + '\\u0001"')
    with pytest.raises(ConfigurationError) as caught:
        endpoint_of(tmp_path, entry)
    assert "models.m.endpoints[0]" in str(caught.value)
    assert told in str(caught.value)
    assert SECRET not in str(caught.value)
