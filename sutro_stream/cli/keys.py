"""`sutro-stream keys`: who may use a deployment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sutro_stream.cli.data_dir import (
    data_dir_option,
    existing_folder,
    prepared_folder,
)
from sutro_stream.cli.messages import complain, say
from sutro_stream.errors import ConfigurationError

if TYPE_CHECKING:
    from sutro_stream.jobs.folder import DataFolder
    from sutro_stream.jobs.keys import KeyInfo, KeyStore

_DONE = 0


@click.group()
def keys() -> None:
    """Make, list and revoke the API keys of a deployment.

    A key belongs to an account: the owner of jobs, datasets and Functions. They may
    be changed while the deployment is served.
    """


@keys.command()
@click.argument("account")
@data_dir_option
def create(account: str, data_dir: Path) -> int:
    """Make a key for ACCOUNT, and print it.

    It is shown this once: only a hash of it is kept. ACCOUNT has at most 64 letters,
    digits, hyphens, dots and underscores; it need not exist before.
    """
    with _store(prepared_folder(data_dir)) as store:
        key, info = store.create(account)
    say(key)
    complain(
        f"key {info.key_id} of account {account}; keep it, it is not shown again",
        label=None,
    )
    return _DONE


@keys.command("list")
@click.option("--account", metavar="NAME", help="Only keys of this account.")
@data_dir_option
def list_keys(account: str | None, data_dir: Path) -> int:
    """List keys by their IDs: account, when made, whether revoked."""
    with _store(existing_folder(data_dir)) as store:
        found = store.list(account)
    if found:
        say("\n".join(_table(found)))
    else:
        complain("there are no keys", label=None)
    return _DONE


@keys.command()
@click.argument("key_id", metavar="KEY-ID")
@data_dir_option
def revoke(key_id: str, data_dir: Path) -> int:
    """Let the key KEY-ID be worth nothing from now on; see `keys list`."""
    with _store(existing_folder(data_dir)) as store:
        revoked = store.revoke(key_id)
    if not revoked:
        # Not repeated: it may be the key itself.
        raise ConfigurationError(
            "there is no such key in use; `sutro-stream keys list` shows the IDs"
        )
    say(f"{key_id} is revoked")
    return _DONE


@contextmanager
def _store(folder: DataFolder) -> Iterator[KeyStore]:
    from sutro_stream.jobs.database import Database  # noqa: PLC0415
    from sutro_stream.jobs.keys import KeyStore  # noqa: PLC0415

    database = Database(folder.database)
    try:
        yield KeyStore(database)
    finally:
        database.close()


def _table(found: Iterable[KeyInfo]) -> Iterator[str]:
    yield f"{'key':<18}{'account':<20}{'made':<22}revoked"
    for info in found:
        revoked = "" if info.revoked_at is None else _time(info.revoked_at)
        yield (
            f"{info.key_id:<18}{info.account:<20}{_time(info.created_at):<22}{revoked}"
        ).rstrip()


def _time(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")
