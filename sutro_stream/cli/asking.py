"""What is asked: the options that make prompts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from sutro_stream.cli.declared import FILE, Group, Needs, option

_ASKING = Group.ASKING

ResponseFormatName = Literal["json_schema", "json_object", "none"]


@dataclass(frozen=True, kw_only=True)
class AskingOptions:
    """What to ask about each row; the defaults stand for "not given"."""

    function: Path | None = option(
        _ASKING,
        "--function",
        type=FILE,
        metavar="FILE|NAME",
        help="Function file (JSON): inputs, prompt template, output schema. With "
        "--deployment, also the name of one that is published there.",
    )
    column: tuple[str, ...] = option(
        _ASKING,
        "--column",
        needs=Needs.OWN_PROMPT,
        default=(),
        metavar="NAME",
        help="Use this column's text as the prompt; repeat to join several.",
    )
    messages: str | None = option(
        _ASKING,
        "--messages",
        needs=Needs.OWN_PROMPT,
        metavar="NAME",
        help="Use this column's chat messages: lists of role and content, or JSON of "
        "them.",
    )
    image: tuple[str, ...] = option(
        _ASKING,
        "--image",
        needs=Needs.OWN_PROMPT,
        default=(),
        metavar="NAME",
        help="Show this column's image behind the text of --column: an address, a "
        "file or bytes; repeatable.",
    )
    separator: str | None = option(
        _ASKING,
        "--separator",
        needs=Needs.OWN_PROMPT,
        metavar="TEXT",
        help=r"Between joined columns; \n and \t are understood.  [default: \n]",
    )
    system_prompt: str | None = option(
        _ASKING,
        "--system-prompt",
        needs=Needs.OWN_PROMPT,
        metavar="TEXT|@FILE",
        help="System message for all rows, or the file that holds it.",
    )
    schema: Path | None = option(
        _ASKING,
        "--schema",
        needs=Needs.OWN_PROMPT,
        type=FILE,
        metavar="FILE",
        help="JSON Schema that the answers must have; its properties become columns.",
    )
    temperature: float | None = option(
        _ASKING,
        "--temperature",
        type=float,
        metavar="X",
        help="Sampling temperature.",
    )
    max_tokens: int | None = option(
        _ASKING,
        "--max-tokens",
        type=int,
        metavar="N",
        help="Most tokens of one answer.",
    )
    sampling: tuple[str, ...] = option(
        _ASKING,
        "--sampling",
        default=(),
        metavar="KEY=VALUE",
        help="Any other sampling parameter, by vLLM's name, as in top_p=0.9.",
    )
    response_format: ResponseFormatName | None = option(
        _ASKING,
        "--response-format",
        needs=Needs.REQUESTS,
        type=click.Choice(["json_schema", "json_object", "none"]),
        help="How the endpoint is told of the schema; answers are checked here in any "
        "case.  [default: json_schema]",
    )
    no_strict: bool = option(
        _ASKING,
        "--no-strict",
        needs=Needs.REQUESTS,
        default=False,
        help="Do not ask the endpoint to keep strictly to the schema, for those that "
        "refuse parts of it.",
    )
    answers: Literal["strict", "extract"] | None = option(
        _ASKING,
        "--answers",
        needs=Needs.REQUESTS,
        type=click.Choice(["strict", "extract"]),
        help="Under a schema: JSON alone, or also JSON behind <think>...</think>, in a "
        "code fence or among words.  [default: strict]",
    )
    reask: int | None = option(
        _ASKING,
        "--reask",
        needs=Needs.REQUESTS,
        type=click.IntRange(min=0),
        metavar="N",
        help="Ask again, up to N times, for an answer that does not conform to the "
        "schema, saying what is wrong.  [default: 0]",
    )
    embed: bool = option(
        _ASKING,
        "--embed",
        needs=(Needs.REQUESTS, Needs.OWN_PROMPT),
        default=False,
        help="Ask an embedding model, for the vector of each text.",
    )
    seed_per_row: bool = option(
        _ASKING,
        "--seed-per-row",
        default=False,
        help="Derive a seed for each row from --sampling seed=N and its position.",
    )
    dedupe: bool = option(
        _ASKING,
        "--dedupe",
        needs=Needs.REQUESTS,
        default=False,
        help="Ask once for equal prompts, and share the answer.",
    )

    @property
    def sampling_params(self) -> dict[str, Any]:
        """Sampling parameters given on the command line, by name.

        Raises:
            UsageError: One is not of the form `KEY=VALUE`.
        """
        params: dict[str, Any] = {}
        for item in self.sampling:
            name, equals, value = item.partition("=")
            if not name or not equals:
                raise click.UsageError("--sampling takes KEY=VALUE, as in top_p=0.9")
            params[name] = _json_or_text(value)
        if self.temperature is not None:
            params["temperature"] = self.temperature
        if self.max_tokens is not None:
            params["max_tokens"] = self.max_tokens
        return params


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value
