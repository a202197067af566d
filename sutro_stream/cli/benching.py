"""A measurement of an endpoint from its options to what is shown."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import click
import orjson

from sutro_stream.cli.answering import REACH, AnsweringOptions
from sutro_stream.cli.assembly import ModelEngine, engine_of, prompts_of
from sutro_stream.cli.messages import complain, say
from sutro_stream.cli.options import RunOptions
from sutro_stream.cli.process import most_in_flight
from sutro_stream.cli.reaching import unused_proxies
from sutro_stream.cli.signals import Stopped, run_until_signal
from sutro_stream.errors import ConfigurationError
from sutro_stream.pipeline.pipeline import Pipeline
from sutro_stream.probing.drawing import bar, svg
from sutro_stream.probing.levels import Level, knee
from sutro_stream.probing.sweep import Sweep, sweep
from sutro_stream.settings import Settings
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.prompts import Prompt, PromptBatch
from sutro_stream.values.sampling import SamplingParams

_MOST_PROMPTS = 10_000
_WORDS = (
    "amber",
    "bridge",
    "candle",
    "engine",
    "forest",
    "harbour",
    "island",
    "market",
)
_WORDS_IN_A_TEXT = 40
_BAR_WIDTH = 50
_NOTHING_ANSWERED = 1
_DONE = 0
_HEADER = (
    f"{'in flight':>10} {'rows/s':>9} {'tokens/s':>9} {'p50':>8} {'p95':>8} "
    f"{'p99':>8} {'failed':>7}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """One call of the command; `None` and empty tuples stand for "not given"."""

    answering: AnsweringOptions
    input: str | None
    column: tuple[str, ...]
    function: Path | None
    max_tokens: int
    max_in_flight: int
    seconds: float
    no_auto: bool
    plot: Path | None
    json_: Path | None

    def check(self) -> None:
        """Refuse combinations that make no sense, before any work is done.

        Raises:
            UsageError: Says which options, and what to do.
        """
        self.answering.check_reach("--endpoint")
        asks = bool(self.column) or self.function is not None
        if self.input is None and asks:
            raise click.UsageError("--column and --function need --input FILE")
        if self.input is not None and bool(self.column) == (self.function is not None):
            raise click.UsageError(
                "say what to ask about the input: --column NAME, or --function FILE"
            )
        for path in (self.plot, self.json_):
            if path is not None and not path.parent.is_dir():
                raise click.UsageError(f"{path.parent}: no such folder")

    def as_run(self) -> RunOptions:
        """What `run` would be told, as far as it is the same."""
        return RunOptions(
            inputs=() if self.input is None else (self.input,),
            function=self.function,
            column=self.column,
            engine=self.answering.engine,
            limit=_MOST_PROMPTS,
            **{name: getattr(self.answering, name) for name in REACH},
        )


def execute(options: BenchOptions, settings: Settings) -> int:
    """Measure, and show level by level what came of it.

    Returns:
        The exit code.

    Raises:
        UsageError: Options do not go together.
        SutroStreamError: Nothing can be measured.
    """
    options.check()
    engine = engine_of(options.as_run(), settings)
    for told in unused_proxies(options.answering, settings):
        complain(told, label="note")
    ending = run_until_signal(partial(_measure, options, engine))
    if isinstance(ending, Stopped):
        complain(str(ending), label=None)
        return ending.exit_code
    for line in _conclusions(ending):
        say(line)
    _write(
        options, ending, title=f"{engine.name} {options.answering.model or ''}".strip()
    )
    return _DONE if any(level.answers for level in ending) else _NOTHING_ANSWERED


async def _measure(options: BenchOptions, engine: ModelEngine) -> Sequence[Level]:
    most = options.max_in_flight
    if not options.answering.is_local:
        most = most_in_flight(most)
    prompts, instructions = await _prompts(options)
    async with engine:
        say(
            f"{engine.name}, {len(prompts):,} prompts of about "
            f"{sum(map(len, prompts)) // len(prompts):,} characters, "
            f"{options.seconds:g} seconds a level"
        )
        say(_HEADER)
        wanted = Sweep(
            prompts=prompts,
            instructions=instructions,
            seconds=options.seconds,
            most_in_flight=most,
            with_auto=not options.no_auto,
        )
        return await sweep(engine, wanted, on_level=lambda level: say(_line(level)))


async def _prompts(options: BenchOptions) -> tuple[list[str], Instructions]:
    limited = SamplingParams(max_tokens=options.max_tokens)
    if options.input is None:
        instructions = Instructions(model=options.answering.model, sampling=limited)
        return list(_made_up()), instructions
    pipeline, instructions = prompts_of(options.as_run())
    texts = await _texts(pipeline)
    if not texts:
        raise ConfigurationError(f"{options.input}: no row makes a prompt")
    sampling = limited.merged(instructions.sampling)
    return texts, replace(instructions, sampling=sampling)


async def _texts(pipeline: Pipeline[Prompt]) -> list[str]:
    texts: list[str] = []
    async with pipeline.open(columns=()) as results:
        while (batch := await results.next_batch()) is not None:
            if isinstance(batch, PromptBatch):
                texts += [
                    text
                    for offset, text in enumerate(batch.texts.to_pylist())
                    if offset not in batch.refused
                ]
    return texts


def _made_up() -> Iterator[str]:
    """Texts that begin differently: an endpoint's cache of prefixes must not help."""
    chance = random.Random(0)
    for number in range(_MOST_PROMPTS):
        words = " ".join(chance.choices(_WORDS, k=_WORDS_IN_A_TEXT))
        yield f"{number}. Write one sentence that uses some of these words: {words}."


def _line(level: Level) -> str:
    tokens = level.input_tokens_per_s + level.output_tokens_per_s
    return (
        f"{_named(level):>10} {_rate(level.rows_per_s):>9} {_rate(tokens):>9} "
        f"{_seconds(level.p50_s):>8} {_seconds(level.p95_s):>8} "
        f"{_seconds(level.p99_s):>8} {level.failures:>7,}"
    )


def _named(level: Level) -> str:
    return f"auto {level.in_flight}" if level.is_found else f"{level.in_flight}"


def _conclusions(levels: Sequence[Level]) -> Iterator[str]:
    most = max(level.rows_per_s for level in levels)
    yield ""
    for level in levels:
        drawn = bar(level.rows_per_s, most, width=_BAR_WIDTH)
        yield f"{_named(level):>10} {drawn:<{_BAR_WIDTH}} {_rate(level.rows_per_s)}"
    yield ""
    fixed = [level for level in levels if not level.is_found]
    best = knee(fixed)
    if best is None:
        yield "nothing was answered"
        return
    yield (
        f"knee: {best.in_flight} in flight, {_rate(best.rows_per_s)} rows/s, "
        f"p95 {_seconds(best.p95_s)}"
    )
    best_rate = max(level.rows_per_s for level in fixed)
    for level in levels:
        if level.is_found:
            yield (
                f"auto: settled at {level.in_flight} in flight, "
                f"{_rate(level.rows_per_s)} rows/s, "
                f"{100 * level.rows_per_s / best_rate:.0f} % of the best level"
            )


def _write(options: BenchOptions, levels: Sequence[Level], *, title: str) -> None:
    contents = {
        options.plot: svg(levels, title=title).encode(),
        options.json_: orjson.dumps(
            {"endpoint": title, "levels": [asdict(level) for level in levels]},
            option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
        ),
    }
    for path, content in contents.items():
        if path is None:
            continue
        try:
            path.write_bytes(content)
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise ConfigurationError(f"cannot write {path}: {reason}") from error
        say(f"wrote {path}")


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _seconds(value: float) -> str:
    return f"{1000 * value:.0f} ms" if value < 1 else f"{value:.1f} s"
