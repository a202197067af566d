"""A key that another program knows, of a vault for example."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable
from subprocess import DEVNULL
from typing import TypeAlias

import anyio

from sutro_stream.errors import ConfigurationError

API_KEY_COMMAND = "--api-key-command"
_LONGEST_S = 60.0

_Ask: TypeAlias = Callable[[], Awaitable[str]]


def key_command(
    command: str, *, what: str = API_KEY_COMMAND, longest_s: float = _LONGEST_S
) -> _Ask:
    """A function that runs a command and returns the first line that it prints.

    It is run without a shell. What it prints is in no message.

    Args:
        command: The program and its arguments, quoted as for a shell.
        what: Where the command was given, for messages.
        longest_s: Seconds until it is stopped.

    Raises:
        ConfigurationError: It is no command; or, from the function, it gave no key.
    """
    try:
        arguments = shlex.split(command)
    except ValueError as error:
        raise ConfigurationError(f"{what}: {str(error).lower()}") from None
    if not arguments:
        raise ConfigurationError(f"{what}: the command is empty")

    async def ask() -> str:
        return await _first_line(arguments, what, longest_s)

    return ask


async def _first_line(arguments: list[str], what: str, longest_s: float) -> str:
    # Arguments are left out of messages: they may hold secrets as well.
    what = f"{what}: {arguments[0]}"
    try:
        with anyio.fail_after(longest_s):
            ended = await anyio.run_process(
                arguments, stdin=DEVNULL, stderr=DEVNULL, check=False
            )
    except TimeoutError:
        message = f"{what} printed no key within {longest_s:g} s"
        raise ConfigurationError(message) from None
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise ConfigurationError(f"{what} cannot be started: {reason}") from None
    if ended.returncode:
        raise ConfigurationError(
            f"{what} failed with exit code {ended.returncode}; it must print the key"
        )
    lines = ended.stdout.decode("utf-8", "replace").splitlines()
    key = lines[0].strip() if lines else ""
    if not key:
        raise ConfigurationError(f"{what} printed no key on its first line")
    return key
