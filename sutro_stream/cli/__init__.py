"""The command line: parse, call, print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from sutro_stream import __version__
from sutro_stream.cli.bench import bench
from sutro_stream.cli.functions import functions
from sutro_stream.cli.jobs import jobs
from sutro_stream.cli.keys import keys
from sutro_stream.cli.ledger import ledger
from sutro_stream.cli.log_lines import warnings_to_stderr
from sutro_stream.cli.messages import complain, prepare_streams
from sutro_stream.cli.process import suit_streaming
from sutro_stream.cli.run import run
from sutro_stream.cli.serve import serve
from sutro_stream.errors import (
    ConfigurationError,
    SourceNotFoundError,
    SutroStreamError,
)
from sutro_stream.settings import Settings

_PROGRAM = "sutro-stream"
_FAILED = 1
_MISUSED = 2
_INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def commands() -> None:
    """Stream large tables through a language model and back."""


commands.add_command(run)
commands.add_command(ledger)
commands.add_command(serve)
commands.add_command(keys)
commands.add_command(functions)
commands.add_command(jobs)
commands.add_command(bench)


def main(
    arguments: Sequence[str] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Run one command.

    Mistakes of the user and failures of a run end in one message on stderr; any
    other exception is a bug of ours, and leaves with its traceback.

    Args:
        arguments: Without the program's name; `None` for those of this process.
        environment: Environment variables, `None` for those of this process.

    Returns:
        The exit code.
    """
    prepare_streams()
    suit_streaming()
    try:
        with warnings_to_stderr():
            code = commands.main(
                args=arguments,
                prog_name=_PROGRAM,
                standalone_mode=False,
                obj=Settings.load(environment),
            )
    except click.exceptions.NoArgsIsHelpError as error:
        complain(error.format_message(), label=None)
        return error.exit_code
    except click.ClickException as error:
        complain(_described(error))
        return error.exit_code
    except click.Abort:
        complain("interrupted", label=None)
        return _INTERRUPTED
    except SutroStreamError as error:
        complain(str(error) + "".join(getattr(error, "__notes__", ())))
        misused = isinstance(error, (ConfigurationError, SourceNotFoundError))
        return _MISUSED if misused else _FAILED
    return int(code or 0)


def _described(error: click.ClickException) -> str:
    message = error.format_message()
    if isinstance(error, click.UsageError) and error.ctx is not None:
        help_command = f"{error.ctx.command_path} --help"
        return f"{message.rstrip('.')} (see '{help_command}')"
    return message
