"""Functions that accounts have published, in files.

    ROOT/<account>/<name>/latest.json         {"revision": 7}
    ROOT/<account>/<name>/revisions/7.json    the Function as published, never changed

Files come into being whole: written under another name, synced, renamed. Publishers
take turns at a lock file, so that numbers are given once and `latest.json` never goes
back; readers need no lock.
"""

from __future__ import annotations

import os
import secrets
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson

from sutro_stream.errors import ConfigurationError, StoreDamagedError, StoreError
from sutro_stream.functions.turns import turn
from sutro_stream.values.account import ACCOUNT_RULE, is_account_name
from sutro_stream.values.function import Function, is_function_name

_LATEST = "latest.json"
_REVISIONS = "revisions"
_LOCK = ".lock"


class FunctionRegistry:
    """The Functions below one folder.

    Concurrency: blocking; from any thread and any number of processes.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def publish(self, account: str, data: bytes | Mapping[str, Any]) -> Function:
        """Check a Function and make it the current one of its name.

        Args:
            account: Whose it is.
            data: The Function, as JSON or parsed; a revision in it is ignored.

        Returns:
            The Function with the number of its revision.

        Raises:
            ConfigurationError: It is not a Function, or no account can have this
                name.
            StoreError: The files cannot be written.
        """
        if not is_account_name(account):
            raise ConfigurationError(
                f"account: {account!r} is not a name for one ({ACCOUNT_RULE})"
            )
        definition = _definition(data)
        definition.pop("revision", None)
        function = Function.validate(definition)
        if function.has_images:
            raise ConfigurationError(
                f"Function {function.name!r}: a deployment's Functions take no images; "
                "run it here, with sutro-stream run --function FILE"
            )
        name = function.name
        folder = self._root / account / name
        with _store_errors(folder):
            revisions = folder / _REVISIONS
            revisions.mkdir(parents=True, exist_ok=True)
            with turn(folder / _LOCK):
                number = max(_numbers(revisions), default=0) + 1
                definition["revision"] = number
                function = Function.validate(definition)
                _put(revisions / f"{number}.json", definition)
                _put(folder / _LATEST, {"revision": number})
        return function

    def latest(self, account: str, name: str) -> Function | None:
        """The current revision, `None` when there is none, for any text as names.

        Raises:
            StoreError: The files cannot be read.
            StoreDamagedError: They do not hold what was published.
        """
        number = self.latest_number(account, name)
        if number is None:
            return None
        function = self.revision(account, name, number)
        if function is None:
            path = self._root / account / name / _LATEST
            raise _damaged(path, f"there is no revision {number}")
        return function

    def latest_number(self, account: str, name: str) -> int | None:
        """The number of the current revision, `None` when there is none.

        Raises:
            StoreError: As `latest`.
        """
        if not _are_names(account, name):
            return None
        path = self._root / account / name / _LATEST
        data = _read(path)
        if data is None:
            return None
        pointer = _parsed(path, data)
        number = pointer.get("revision")
        if type(number) is not int or number < 1:
            raise _damaged(path, "it names no revision")
        return number

    def revision(self, account: str, name: str, number: int) -> Function | None:
        """One revision, `None` when there is none.

        Raises:
            StoreError: As `latest`.
        """
        definition = self.definition(account, name, number)
        if definition is None:
            return None
        try:
            return Function.validate(definition)
        except ConfigurationError as error:
            path = self._revision_path(account, name, number)
            raise _damaged(path, " ".join(str(error).split())) from error

    def definition(self, account: str, name: str, number: int) -> dict[str, Any] | None:
        """One revision as it was published, `None` when there is none.

        Raises:
            StoreError: As `latest`.
        """
        if not _are_names(account, name) or number < 1:
            return None
        path = self._revision_path(account, name, number)
        data = _read(path)
        return None if data is None else _parsed(path, data)

    def revisions(self, account: str, name: str) -> list[int]:
        """Numbers of all revisions, in order.

        Raises:
            StoreError: The folder cannot be read.
        """
        if not _are_names(account, name):
            return []
        folder = self._root / account / name / _REVISIONS
        with _store_errors(folder):
            return sorted(_numbers(folder))

    def names(self, account: str) -> list[str]:
        """Names of the account's Functions, in order.

        Raises:
            StoreError: The folder cannot be read.
        """
        if not is_account_name(account):
            return []
        folder = self._root / account
        with _store_errors(folder):
            return sorted(
                name
                for name in _entries(folder)
                if is_function_name(name) and (folder / name / _LATEST).is_file()
            )

    def accounts(self) -> list[str]:
        """Accounts that have published something, in order.

        Raises:
            StoreError: The folder cannot be read.
        """
        with _store_errors(self._root):
            candidates = filter(is_account_name, _entries(self._root))
        return sorted(account for account in candidates if self.names(account))

    def _revision_path(self, account: str, name: str, number: int) -> Path:
        return self._root / account / name / _REVISIONS / f"{number}.json"


def _are_names(account: str, name: str) -> bool:
    """Whether both are safe in a path."""
    return is_account_name(account) and is_function_name(name)


def _definition(data: bytes | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(data, Mapping):
        return dict(data)
    try:
        value = orjson.loads(data.removeprefix(BOM_UTF8))
    except orjson.JSONDecodeError as error:
        message = f"Function: not valid JSON: {error.msg} at character {error.pos}"
        raise ConfigurationError(message) from None
    if not isinstance(value, dict):
        raise ConfigurationError("Function: input should be an object")
    return value


def _numbers(folder: Path) -> Iterator[int]:
    for name in _entries(folder):
        stem, dot, end = name.partition(".")
        if dot and end == "json" and stem.isascii() and stem.isdecimal():
            yield int(stem)


def _entries(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _read(path: Path) -> bytes | None:
    with _store_errors(path):
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None


def _parsed(path: Path, data: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise _damaged(path, "it is not JSON") from error
    if not isinstance(value, dict):
        raise _damaged(path, "it is not an object")
    return value


def _put(path: Path, value: Mapping[str, Any]) -> None:
    """Put a file in place, whole and synced, over one that is there."""
    data = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        # Whatever stops it, an interrupt too, leaves no half file.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # The file is in place by now; not every system can sync a folder.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _store_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        message = f"cannot use the published Functions in {path}: {reason}"
        raise StoreError(message, path=str(path)) from error


def _damaged(path: Path, reason: str) -> StoreDamagedError:
    message = f"{path} is damaged ({reason}); publish the Function again"
    return StoreDamagedError(message, path=str(path))
