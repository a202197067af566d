"""API keys: whose they are, and whether they are still good."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sutro_stream.errors import ConfigurationError
from sutro_stream.jobs.database import Clock, Database, microseconds, moment, utc_now
from sutro_stream.values.account import ACCOUNT_RULE, is_account_name

_PREFIX = "sk_live_"
_RANDOM_BYTES = 32
_ID_DIGITS = 12
# No key is longer; hashing takes time that a stranger could ask for.
_LONGEST = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyInfo:
    """What may be told of a key.

    Attributes:
        key_id: `key-` and twelve digits of its hash.
        account: Whose it is.
        created_at: UTC.
        revoked_at: UTC, `None` while it is good.
    """

    key_id: str
    account: str
    created_at: datetime
    revoked_at: datetime | None = None


class KeyStore:
    """The keys of a deployment; of each, only the hash is kept.

    Concurrency: blocking; from any thread. Keys made or revoked by another process
    count at once.
    """

    def __init__(self, database: Database, *, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

    def create(self, account: str) -> tuple[str, KeyInfo]:
        """Make a key for an account.

        Returns:
            The key, which cannot be had again, and what may be told of it.

        Raises:
            ConfigurationError: No account can have this name.
            StoreError: The database cannot be written.
        """
        if not is_account_name(account):
            message = f"account: {account!r} is not a name for one ({ACCOUNT_RULE})"
            raise ConfigurationError(message)
        key = _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
        digest = _digest(key)
        info = KeyInfo(
            key_id=_key_id(digest), account=account, created_at=self._clock()
        )
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO keys VALUES (?, ?, ?, ?, NULL)",
                (info.key_id, account, digest, microseconds(info.created_at)),
            )
        return key, info

    def account_of(self, key: str) -> str | None:
        """Whose key this is, `None` for one that is unknown or revoked.

        Raises:
            StoreError: The database cannot be read.
        """
        if len(key) > _LONGEST:
            return None
        digest = _digest(key)
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT account, digest FROM keys "
                "WHERE key_id = ? AND revoked_us IS NULL",
                (_key_id(digest),),
            ).fetchone()
        if row is None or not hmac.compare_digest(row["digest"], digest):
            return None
        return str(row["account"])

    def list(self, account: str | None = None) -> Sequence[KeyInfo]:
        """All keys, or those of one account, in the order they were made.

        Raises:
            StoreError: The database cannot be read.
        """
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT key_id, account, created_us, revoked_us FROM keys "
                "WHERE ?1 IS NULL OR account = ?1 ORDER BY created_us, rowid",
                (account,),
            ).fetchall()
        return [_info(row) for row in rows]

    def revoke(self, key_id: str) -> bool:
        """End a key for good.

        Returns:
            Whether this call did it; `False` when it is unknown or was revoked
            before.

        Raises:
            StoreError: The database cannot be written.
        """
        with self._database.write() as connection:
            done = connection.execute(
                "UPDATE keys SET revoked_us = ? "
                "WHERE key_id = ? AND revoked_us IS NULL",
                (microseconds(self._clock()), key_id),
            )
        return done.rowcount > 0


def _digest(key: str) -> bytes:
    # A key is random enough that a plain hash cannot be turned back.
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def _key_id(digest: bytes) -> str:
    return f"key-{digest.hex()[:_ID_DIGITS]}"


def _info(row: sqlite3.Row) -> KeyInfo:
    revoked = row["revoked_us"]
    return KeyInfo(
        key_id=row["key_id"],
        account=row["account"],
        created_at=moment(row["created_us"]),
        revoked_at=None if revoked is None else moment(revoked),
    )
