"""Run the scripted chat server as a process: `python -m ...chat_server --help`."""

from __future__ import annotations

import argparse
import importlib.util
import os
import pkgutil
import signal
import sys
from functools import partial
from pathlib import Path

import anyio
import orjson
from anyio.abc import TaskStatus

from sutro_stream.testing.chat_server.adversity import (
    congested,
    fail_share,
    rate_steps,
    slow_share,
)
from sutro_stream.testing.chat_server.latency import Constant, Distribution, LogNormal
from sutro_stream.testing.chat_server.recording import recorded
from sutro_stream.testing.chat_server.replies import Reply
from sutro_stream.testing.chat_server.scripts import (
    Script,
    constant,
    echo,
    fail_every,
    fail_first_attempts,
    first_of,
    with_latency,
)
from sutro_stream.testing.chat_server.server import ScriptedChatServer


def main() -> None:
    """Serve until SIGTERM, SIGINT or, if asked, the end of standard input."""
    options = _parser().parse_args()
    server = ScriptedChatServer(
        _script(options), api_key=options.api_key, port=options.port
    )
    use_uvloop = importlib.util.find_spec("uvloop") is not None
    anyio.run(
        partial(_serve, server, exit_with_parent=options.exit_with_parent),
        backend_options={"use_uvloop": use_uvloop},
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sutro_stream.testing.chat_server",
        description="An OpenAI-compatible chat server that answers by script. Prints "
        "its address as one JSON line, then serves until SIGTERM or SIGINT. Its "
        "counts are at GET /statistics; POST /statistics/reset clears them.",
    )
    add = parser.add_argument
    add("--port", type=int, default=0, help="port to listen on; 0 picks a free one")
    add("--text", help="answer to every prompt (default: echo the prompt)")
    add(
        "--script",
        metavar="MODULE:NAME",
        help="a script to import, in place of the answer made here",
    )
    add("--api-key", help="key that clients must send")
    add("--latency-ms", type=float, default=0.0, help="latency, or its median")
    add("--latency-p99-ms", type=float, help="draw log-normal latencies up to here")
    add("--latency-cap-ms", type=float, help="longest latency drawn")
    add("--seed", type=int, default=0, help="seed of the latencies (default: 0)")
    add("--rate-per-s", type=float, help="answer 429 above this rate")
    add(
        "--rate-steps",
        type=_steps,
        metavar="RATE[,RATE@S...]",
        help="a rate that changes S seconds after the first request: 400,100@5,800@10",
    )
    add("--rate-burst", type=int, default=1, help="let through at once after a pause")
    add("--retry-after-s", type=float, help="Retry-After of failures")
    add("--fail-every", type=int, metavar="N", help="fail each N-th request")
    add("--fail-first", type=int, metavar="K", help="fail K attempts of each prompt")
    add("--fail-share", type=float, help="fail this share of requests, by chance")
    add("--fail-status", type=int, default=503, help="status of failures (503)")
    add("--slow-share", type=float, help="let this share of answers be slow")
    add("--slow-s", type=float, default=8.0, help="latency of these (8)")
    add("--best-in-flight", type=int, help="slow down with more requests in flight")
    add(
        "--record",
        type=Path,
        metavar="FILE",
        help="append each request's prompt to this file, as a line of JSON",
    )
    add(
        "--exit-with-parent",
        action="store_true",
        help="also stop when standard input, a pipe, is closed",
    )
    return parser


def _script(options: argparse.Namespace) -> Script:
    """The script that the command line describes."""
    failure = Reply(status=options.fail_status, retry_after=options.retry_after_s)
    scripts: list[Script] = []
    steps = options.rate_steps or []
    if options.rate_per_s:
        steps = [(0.0, options.rate_per_s)]
    if steps:
        limit = rate_steps(
            steps, retry_after_s=options.retry_after_s, burst=options.rate_burst
        )
        scripts.append(limit)
    if options.fail_every:
        scripts.append(fail_every(options.fail_every, failure))
    if options.fail_first:
        scripts.append(fail_first_attempts(options.fail_first, failure))
    answer = _delayed(_answer(options, failure), options)
    whole = first_of(*scripts, answer) if scripts else answer
    return whole if options.record is None else recorded(whole, options.record)


def _answer(options: argparse.Namespace, failure: Reply) -> Script:
    answer = echo() if options.text is None else constant(options.text)
    if options.script:
        answer = first_of(pkgutil.resolve_name(options.script), answer)
    if options.fail_share:
        failing = fail_share(options.fail_share, failure, seed=options.seed)
        answer = first_of(failing, answer)
    return answer


def _delayed(answer: Script, options: argparse.Namespace) -> Script:
    distribution = _distribution(options)
    if options.best_in_flight:
        latency_s = options.latency_ms / 1000
        answer = congested(
            answer, best_in_flight=options.best_in_flight, latency_s=latency_s
        )
    elif distribution is not None:
        answer = with_latency(answer, distribution, seed=options.seed)
    if options.slow_share:
        answer = slow_share(
            answer, options.slow_share, options.slow_s, seed=options.seed
        )
    return answer


def _steps(text: str) -> list[tuple[float, float]]:
    """`400,100@5` as pairs of seconds and rates."""
    steps = []
    for part in text.split(","):
        rate, _, start_s = part.partition("@")
        steps.append((float(start_s or 0), float(rate)))
    return steps


def _distribution(options: argparse.Namespace) -> Distribution | None:
    median_s = options.latency_ms / 1000
    if options.latency_p99_ms is not None:
        cap_ms = options.latency_cap_ms
        return LogNormal(
            median_s=median_s,
            p99_s=options.latency_p99_ms / 1000,
            cap_s=None if cap_ms is None else cap_ms / 1000,
        )
    return Constant(seconds=median_s) if median_s > 0 else None


async def _serve(server: ScriptedChatServer, *, exit_with_parent: bool) -> None:
    async with server, anyio.create_task_group() as tasks:
        scope = tasks.cancel_scope
        await tasks.start(_stop_on_signal, scope)
        if exit_with_parent:
            tasks.start_soon(_stop_on_end_of_input, scope)
        announcement = {"base_url": server.base_url, "pid": os.getpid()}
        sys.stdout.buffer.write(orjson.dumps(announcement) + b"\n")
        sys.stdout.flush()


async def _stop_on_signal(
    scope: anyio.CancelScope, *, task_status: TaskStatus[None]
) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            scope.cancel()


async def _stop_on_end_of_input(scope: anyio.CancelScope) -> None:
    stdin = sys.stdin.fileno()
    await anyio.wait_readable(stdin)
    while os.read(stdin, 4096):
        await anyio.wait_readable(stdin)
    scope.cancel()


if __name__ == "__main__":
    main()
