"""`sutro-stream functions`: what accounts have published."""

from __future__ import annotations

import json
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
    from sutro_stream.functions.registry import FunctionRegistry
    from sutro_stream.jobs.folder import DataFolder

_DONE = 0

_account = click.option(
    "--account", required=True, metavar="NAME", help="Whose Function it is."
)


@click.group()
def functions() -> None:
    """Publish Functions to a deployment, and look at them.

    Published revisions never change; jobs keep the one they were accepted with. All
    this may be done while the deployment is served.
    """


@functions.command()
@click.argument("spec", metavar="SPEC.json", type=click.Path(path_type=Path))
@_account
@data_dir_option
def publish(spec: Path, account: str, data_dir: Path) -> int:
    """Publish the Function in SPEC.json as its name's next revision."""
    from sutro_stream.values.function import Function  # noqa: PLC0415

    # Checked as a file first: its messages name the file.
    Function.load(spec)
    registry = _registry(prepared_folder(data_dir))
    published = registry.publish(account, spec.read_bytes())
    say(f"{published.name} revision {published.revision}")
    return _DONE


@functions.command("list")
@click.option("--account", metavar="NAME", help="Only Functions of this account.")
@data_dir_option
def list_functions(account: str | None, data_dir: Path) -> int:
    """List Functions: account, name, current revision, description."""
    registry = _registry(existing_folder(data_dir))
    lines = [
        f"{owner:<20}{name:<32}{found.revision or 0:>8}  {found.description or ''}"
        for owner in ([account] if account is not None else registry.accounts())
        for name in registry.names(owner)
        if (found := registry.latest(owner, name)) is not None
    ]
    if lines:
        title = f"{'account':<20}{'function':<32}{'revision':>8}  description"
        say("\n".join(line.rstrip() for line in (title, *lines)))
    else:
        complain("there are no Functions", label=None)
    return _DONE


@functions.command()
@click.argument("name")
@_account
@click.option(
    "--revision",
    type=click.IntRange(min=1),
    metavar="N",
    help="Which revision.  [default: the current one]",
)
@data_dir_option
def show(name: str, account: str, revision: int | None, data_dir: Path) -> int:
    """Print the Function NAME as JSON, as it can be published again."""
    folder = existing_folder(data_dir)
    registry = _registry(folder)
    number = revision
    if number is None:
        latest = registry.latest(account, name)
        number = None if latest is None else latest.revision
    if number is None or registry.revision(account, name, number) is None:
        which = "" if revision is None else f" revision {revision}"
        raise ConfigurationError(f"account {account} has no Function {name}{which}")
    path = folder.functions / account / name / "revisions" / f"{number}.json"
    say(json.dumps(json.loads(path.read_bytes()), indent=2, ensure_ascii=False))
    return _DONE


def _registry(folder: DataFolder) -> FunctionRegistry:
    from sutro_stream.functions.registry import FunctionRegistry  # noqa: PLC0415

    return FunctionRegistry(folder.functions)
