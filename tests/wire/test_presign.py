"""Signatures of links: for one method, one artifact, one time."""

from __future__ import annotations

import re

import pytest

from sutro_stream.wire.presign import sign, verify

SECRET = b"s" * 32
KEY = "jobs/job-1/results/a.parquet"
SIGNATURE = sign(SECRET, method="GET", key=KEY, expires_at=1000)


def is_good(
    *,
    secret: bytes = SECRET,
    signature: str = SIGNATURE,
    method: str = "GET",
    key: str = KEY,
    expires_at: int = 1000,
    now: float = 999.9,
) -> bool:
    """Whether a link would work."""
    return verify(
        secret, signature, method=method, key=key, expires_at=expires_at, now=now
    )


def test_a_signature_is_good_until_it_expires() -> None:
    """To the second."""
    assert is_good()
    assert not is_good(now=1000)


def test_a_signature_is_safe_in_a_query() -> None:
    """It needs no escaping."""
    assert re.fullmatch("[A-Za-z0-9_-]{43}", SIGNATURE)


def test_a_signature_stays_the_same() -> None:
    """Links outlive a restart of the server, and an upgrade."""
    assert SIGNATURE == "NofLga0RySCBqvM5jL_WDlqb24ZZUwQARCbnSTAwsXg"


def test_a_signature_is_for_one_use() -> None:
    """Nothing that is signed can be exchanged."""
    assert not is_good(secret=b"t" * 32)
    assert not is_good(method="HEAD")
    assert not is_good(key=KEY + "x")
    assert not is_good(expires_at=1001)


@pytest.mark.parametrize("signature", ["", "x", SIGNATURE[:-1], "\u00e9", "\udcff"])
def test_another_signature_is_refused(signature: str) -> None:
    """Whatever somebody sends."""
    assert not is_good(signature=signature)


def test_parts_cannot_be_shifted() -> None:
    """A key that looks like the other parts signs something else."""
    assert sign(SECRET, method="GET", key="1\n2", expires_at=3) != sign(
        SECRET, method="GET", key="2", expires_at=31
    )
