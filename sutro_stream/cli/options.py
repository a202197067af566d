"""The options of `sutro-stream run`, as typed, and what can be said of them alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import click

from sutro_stream.cli.answering import AnsweringOptions
from sutro_stream.cli.asking import AskingOptions
from sutro_stream.cli.declared import Declared, Needs, options_of
from sutro_stream.cli.placing import PlacingOptions
from sutro_stream.cli.pricing import PricingOptions


@dataclass(frozen=True, kw_only=True)
class RunOptions(PlacingOptions, PricingOptions, AnsweringOptions, AskingOptions):
    """One call of the command."""

    @property
    def published_function(self) -> str | None:
        """Name of a Function of the deployment, `None` for one in a file."""
        if self.deployment is None or self.function is None:
            return None
        is_file = self.function.suffix == ".json" or self.function.exists()
        return None if is_file else str(self.function)

    def check(self) -> None:
        """Refuse combinations that make no sense, before any work is done.

        Raises:
            UsageError: Says which options, and what to do.
            ConfigurationError: The output is a file that is needed.
        """
        self._check_asking()
        for declared in self._given():
            for need in Needs:
                if need in declared.needs and not self._has(need):
                    raise click.UsageError(f"{declared.names[0]} {need.value}")
        if self.deployment is not None:
            self._check_deployment()
        elif not self.is_local:
            self.check_reach()
        self.check_files()

    def _check_asking(self) -> None:
        if self.function is None and not self.column and self.messages is None:
            raise click.UsageError(
                "say what to ask: --function FILE, --column NAME or --messages NAME"
            )
        if self.messages is None:
            return
        for name, value in {
            "--column": self.column,
            "--image": self.image,
            "--separator": self.separator,
        }.items():
            if value not in (None, ()):
                raise click.UsageError(
                    f"{name} cannot be combined with --messages, which are sent as "
                    "they are"
                )

    def _given(self) -> Iterator[Declared]:
        for declared in options_of(type(self)):
            if getattr(self, declared.field) != declared.default:
                yield declared

    def _has(self, need: Needs) -> bool:
        """Whether there is what an option is of use with."""
        match need:
            case Needs.OWN_PROMPT:
                return self.function is None
            case Needs.JOBS:
                return self.deployment is not None
            case Needs.REQUESTS:
                return self.deployment is None
            case Needs.ENDPOINT:
                return self.deployment is not None or not self.is_local

    def _check_deployment(self) -> None:
        if self.concurrency == "auto":
            raise click.UsageError(f"--concurrency auto {Needs.REQUESTS.value}")
        if len(self.api_key_env) > 1:
            raise click.UsageError("a deployment has one --api-key-env")
        published = self.published_function is not None
        if published and self.model is not None:
            raise click.UsageError(
                "--model cannot be combined with a published Function, which brings "
                "its own"
            )
        if published and self.dry_run:
            raise click.UsageError(
                "--dry-run cannot show the prompts of a published Function: the "
                "deployment makes them"
            )
