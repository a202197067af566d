"""API keys: made once, kept as hashes, revoked for good."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from sutro_stream.errors import ConfigurationError
from sutro_stream.jobs.database import Database
from sutro_stream.jobs.keys import KeyStore


@pytest.fixture
def keys(database: Database, clock: Callable[[], datetime]) -> KeyStore:
    """No keys yet."""
    return KeyStore(database, clock=clock)


def test_a_key_leads_to_its_account(keys: KeyStore) -> None:
    """Each account has its own."""
    alice, _ = keys.create("alice")
    bob, _ = keys.create("bob")
    assert keys.account_of(alice) == "alice"
    assert keys.account_of(bob) == "bob"


def test_a_key_has_the_form_that_clients_expect(keys: KeyStore) -> None:
    """A prefix, and 256 random bits."""
    key, info = keys.create("alice")
    assert re.fullmatch(r"sk_live_[A-Za-z0-9_-]{43}", key)
    assert re.fullmatch(r"key-[0-9a-f]{12}", info.key_id)


def test_an_account_can_have_several_keys(keys: KeyStore) -> None:
    """They are different and all of them are good."""
    first, _ = keys.create("alice")
    second, _ = keys.create("alice")
    assert first != second
    assert keys.account_of(first) == keys.account_of(second) == "alice"


@pytest.mark.parametrize(
    "key", ["", "sk_live_", "sk_live_" + "a" * 43, "\udcff", "\x00", "k" * 10_000]
)
def test_an_unknown_key_leads_nowhere(keys: KeyStore, key: str) -> None:
    """Whatever somebody sends."""
    keys.create("alice")
    assert keys.account_of(key) is None


def test_nearly_a_key_leads_nowhere(keys: KeyStore) -> None:
    """The whole key counts, in its case."""
    key, _ = keys.create("alice")
    assert keys.account_of(key[:-1]) is None
    assert keys.account_of(key + "A") is None
    assert keys.account_of(key.swapcase()) is None


def test_a_revoked_key_leads_nowhere(keys: KeyStore) -> None:
    """And the account's other keys stay good."""
    key, info = keys.create("alice")
    other, _ = keys.create("alice")
    assert keys.revoke(info.key_id)
    assert keys.account_of(key) is None
    assert keys.account_of(other) == "alice"


def test_a_key_is_revoked_once(keys: KeyStore) -> None:
    """The second time tells that nothing happened, as for an unknown key."""
    _, info = keys.create("alice")
    assert keys.revoke(info.key_id)
    assert not keys.revoke(info.key_id)
    assert not keys.revoke("key-000000000000")


def test_keys_are_listed_in_order(
    keys: KeyStore, clock: Callable[[], datetime]
) -> None:
    """With what happened to each."""
    _, first = keys.create("bob")
    _, second = keys.create("alice")
    keys.revoke(first.key_id)
    listed = keys.list()
    assert [info.key_id for info in listed] == [first.key_id, second.key_id]
    assert [info.revoked_at for info in listed] == [clock(), None]
    assert listed[1] == second


def test_keys_of_one_account_are_listed(keys: KeyStore) -> None:
    """And nobody else's."""
    keys.create("bob")
    _, info = keys.create("alice")
    assert keys.list("alice") == [info]


def test_the_key_itself_is_kept_nowhere(
    keys: KeyStore, database: Database, tmp_path: Path
) -> None:
    """No file of the deployment holds it."""
    key, _ = keys.create("alice")
    database.close()
    kept = b"".join(path.read_bytes() for path in (tmp_path / "data").iterdir())
    assert b"alice" in kept
    assert key.encode() not in kept
    assert key.removeprefix("sk_live_").encode() not in kept


@pytest.mark.parametrize(
    "account", ["", ".", "..", "a/b", "Alice", "a" * 65, "-a", "a.", "é", "a\n", "a b"]
)
def test_not_every_text_names_an_account(keys: KeyStore, account: str) -> None:
    """Accounts have folders."""
    with pytest.raises(ConfigurationError, match="at most 64 lower-case letters"):
        keys.create(account)


@pytest.mark.parametrize("account", ["a", "a.b_c-d", "0", "a" * 64])
def test_an_account_has_a_plain_name(keys: KeyStore, account: str) -> None:
    """Letters, digits and three signs."""
    key, _ = keys.create(account)
    assert keys.account_of(key) == account


def test_another_process_counts_at_once(keys: KeyStore, database: Database) -> None:
    """A key made or revoked by a command is good or bad for a running server."""
    with Database(database.path) as other:
        key, info = KeyStore(other).create("alice")
        assert keys.account_of(key) == "alice"
        KeyStore(other).revoke(info.key_id)
        assert keys.account_of(key) is None
