"""Where results go to: the options of the output and of going on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from sutro_stream.cli.declared import FILE, Group, Needs, option
from sutro_stream.cli.reading import ReadingOptions, names_in
from sutro_stream.errors import ConfigurationError

_OUTPUT, _GOING_ON = Group.OUTPUT, Group.GOING_ON
_TRYING = Group.TRYING_OUT


@dataclass(frozen=True, kw_only=True)
class PlacingOptions(ReadingOptions):
    """Files, and what becomes of those that are there.

    The defaults stand for "not given".
    """

    output: Path | None = option(
        _OUTPUT,
        "--output",
        "-o",
        type=FILE,
        metavar="FILE",
        help="Where results go: .parquet, .csv or .jsonl.",
    )
    failures_to: Path | None = option(
        _OUTPUT,
        "--failures-to",
        type=FILE,
        metavar="FILE",
        help="Input rows without an answer, as input for another run.",
    )
    overwrite: bool = option(
        _OUTPUT,
        "--overwrite",
        default=False,
        help="Replace the output if it exists.",
    )
    columns: str | None = option(
        _OUTPUT,
        "--columns",
        metavar="A,B,...",
        help='Input columns to keep beside the results; "" for none.  [default: all]',
    )
    details: str | None = option(
        _OUTPUT,
        "--with",
        metavar="A,B,...",
        help="Columns of what else is known of each answer: usage, finish_reason, "
        "model, attempts, seconds, logprob, extracted, reasoning.",
    )
    unordered: bool = option(
        _OUTPUT,
        "--unordered",
        default=False,
        help="Write results as they come, not in input order.",
    )
    quiet: bool = option(
        _OUTPUT, "--quiet", "-q", default=False, help="No progress and no summary."
    )
    restart: bool = option(
        _GOING_ON,
        "--restart",
        default=False,
        help="Forget what an interrupted run has answered, and start afresh.",
    )
    retry_failed: bool = option(
        _GOING_ON,
        "--retry-failed",
        default=False,
        help="Keep the answers of an earlier run and ask again what failed; needs its "
        "ledger.",
    )
    reuse: bool = option(
        _GOING_ON,
        "--reuse",
        needs=Needs.REQUESTS,
        default=False,
        help="The input changed: rows with a prompt that was answered keep their "
        "answer, the others are asked. Needs the ledger of an unfinished run, or a "
        "kept one.",
    )
    keep_ledger: bool = option(
        _GOING_ON,
        "--keep-ledger",
        default=False,
        help="Keep OUTPUT.ledger when the output is complete.",
    )
    dry_run: bool = option(
        _TRYING,
        "--dry-run",
        default=False,
        help="Show the first prompts, count rows and tokens; send nothing.",
    )
    show: int = option(
        _TRYING,
        "--show",
        type=click.IntRange(min=0),
        default=3,
        metavar="N",
        help="Prompts that a dry run shows.",
    )

    @property
    def kept_columns(self) -> tuple[str, ...] | None:
        """Input columns for the output, `None` for all."""
        if self.columns is None:
            return None
        return names_in(self.columns)

    @property
    def told_details(self) -> tuple[str, ...]:
        """What else the output tells of each answer."""
        names = (self.details or "").split(",")
        return tuple(name.strip() for name in names if name.strip())

    @property
    def must_be_new(self) -> bool:
        """Whether an output that is there is not to be replaced."""
        return not (self.dry_run or self.overwrite or self.retry_failed)

    def exists_already(self) -> ConfigurationError:
        """The error for an output that must not be replaced."""
        return ConfigurationError(
            f"{self.output} exists already; choose another name, or add --overwrite"
        )

    def check_files(self) -> None:
        """Refuse what cannot be written, before any work is done.

        Raises:
            UsageError: Says which options, and what to do.
            ConfigurationError: The output is a file that is needed.
        """
        output = self.output
        if output is None:
            if not self.dry_run:
                raise click.UsageError("say where results go: --output FILE")
            return
        if any(_is_same_file(output, path) for path in self.inputs):
            raise ConfigurationError(f"{output}: the output is the input")
        modes = {
            "--restart": self.restart,
            "--retry-failed": self.retry_failed,
            "--reuse": self.reuse,
        }
        given = [name for name, is_given in modes.items() if is_given]
        if len(given) > 1:
            raise click.UsageError(f"{' and '.join(given)} exclude each other")
        if self.failures_to is not None and self.failures_to == output:
            raise ConfigurationError(f"{output}: the output is the file of failures")
        if self.must_be_new and not self.restart and _has_ledger(output):
            # It may be what this command has made, or may replace.
            return
        if self.must_be_new and output.is_file():
            raise self.exists_already()


def _has_ledger(output: Path) -> bool:
    names = (f"{output.name}.ledger", f"{output.name}.ledger-gone")
    return any(output.with_name(name).exists() for name in names)


def _is_same_file(output: Path, other: str) -> bool:
    try:
        return output.samefile(other)
    except OSError:
        return False
