"""Which addresses are a deployment's."""

from __future__ import annotations

import pytest

from sutro_stream.deployments.address import api_base
from sutro_stream.errors import ConfigurationError


@pytest.mark.parametrize(
    "address",
    [
        "https://batch.example.com",
        "https://batch.example.com/",
        "https://batch.example.com/v1",
        "https://batch.example.com/v1/",
        " https://batch.example.com ",
    ],
)
def test_an_origin_with_or_without_the_version(address: str) -> None:
    """All of them are the same deployment."""
    assert str(api_base(address)) == "https://batch.example.com/v1"


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8642", "http://localhost:1/v1", "http://[::1]:80"]
)
def test_plain_http_on_this_machine(address: str) -> None:
    """Nobody can read along."""
    assert api_base(address).path == "/v1"


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("http://batch.example.com", "https"),
        ("http://10.0.0.1:8642", "https"),
        ("http://127.0.0.1.example.com", "https"),
        ("batch.example.com", "origin"),
        ("ftp://batch.example.com", "origin"),
        ("https://", "origin"),
        ("", "origin"),
        ("https://user:secret@batch.example.com", "user or a password"),
        ("https://batch.example.com?key=secret", "query"),
        ("https://batch.example.com#secret", "fragment"),
        ("https://batch.example.com/v2", "path /v2"),
        ("https://batch.example.com/v1/jobs", "path /v1/jobs"),
    ],
)
def test_what_is_no_deployment(address: str, reason: str) -> None:
    """The message says what to give instead, and no secret."""
    with pytest.raises(ConfigurationError, match=reason) as caught:
        api_base(address)
    assert "secret" not in str(caught.value)
