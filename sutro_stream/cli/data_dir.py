"""The option that all commands about a deployment's data share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sutro_stream.errors import ConfigurationError

if TYPE_CHECKING:
    from sutro_stream.jobs.folder import DataFolder

CommandT = TypeVar("CommandT", bound=Callable[..., Any])


def data_dir_option(command: CommandT) -> CommandT:
    """Give a command `--data-dir`, as `data_dir`."""
    return click.option(
        "--data-dir",
        type=click.Path(path_type=Path),
        required=True,
        metavar="DIR",
        help="Folder of the deployment's data.",
    )(command)


def existing_folder(data_dir: Path) -> DataFolder:
    """The folder of a deployment that is there.

    Raises:
        ConfigurationError: There is none: a typing mistake is no empty deployment.
    """
    from sutro_stream.jobs.folder import DataFolder  # noqa: PLC0415

    if not data_dir.is_dir():
        raise ConfigurationError(
            f"--data-dir {data_dir}: there is no such folder; `sutro-stream keys "
            "create` and `sutro-stream serve` make one"
        )
    return DataFolder(data_dir)


def prepared_folder(data_dir: Path) -> DataFolder:
    """The folder of a deployment, made if it is not there.

    Raises:
        StoreError: It cannot be made.
    """
    from sutro_stream.jobs.folder import DataFolder  # noqa: PLC0415

    folder = DataFolder(data_dir)
    folder.prepare()
    return folder
