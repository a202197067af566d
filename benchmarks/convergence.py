"""How `concurrency="auto"` converges: the pictures in docs/limits.md, and figures.

Whole pipelines against simulated endpoints on virtual time, so that every run of this
script draws the same endpoints; only the jitter of retries differs.

    python benchmarks/convergence.py [FOLDER]

writes limits-rate.svg, limits-steps.svg and limits-peak.svg; FOLDER is docs/images
unless given.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from plots import Line, Plot, smoothed

import sutro_stream as ss
from sutro_stream.testing import (
    Conditions,
    RateLimit,
    SimulatedEndpoint,
    SimulatedEngine,
    Trace,
    Uniform,
    peak,
    run_virtual,
)

_SCATTERED = Uniform(low_s=0.08, high_s=0.12)
_BEST = 64
_BEST_PER_S = 640


def main() -> None:
    """Run, print and draw."""
    default = Path(__file__).parents[1] / "docs" / "images"
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    folder.mkdir(parents=True, exist_ok=True)
    for name, plot in (
        ("limits-rate", _rate()),
        ("limits-steps", _steps()),
        ("limits-peak", _peak()),
    ):
        path = folder / f"{name}.svg"
        path.write_text(plot.svg())
        print(f"wrote {path}")


def _traced(endpoint: SimulatedEndpoint, rows: int) -> Trace:
    async def scenario() -> Trace:
        async with SimulatedEngine(endpoint) as engine:
            infer = ss.infer(engine, concurrency="auto", ordered=False)
            prompts = ss.from_rows([str(number) for number in range(rows)])
            async with (prompts | ss.prompts() | infer).open() as results:
                lost = [result.index async for result in results if result.error]
        print(f"{rows:,} rows in {engine.trace.elapsed_s:.2f} s, {len(lost)} lost, ")
        print(f"{engine.trace.wasted:.2%} of the requests refused")
        return engine.trace

    return run_virtual(scenario)


def _limited(per_s: float) -> Conditions:
    limit = RateLimit(per_s=per_s, burst=40, retry_after_s=1.0)
    return Conditions(latency=_SCATTERED, rate=limit)


def _per_s(trace: Trace, counts: Sequence[int]) -> Sequence[tuple[float, float]]:
    times_s = [moment.at_s for moment in trace.moments]
    return smoothed(times_s, [10.0 * count for count in counts])


def _answers(trace: Trace) -> Line:
    points = _per_s(trace, [moment.answered for moment in trace.moments])
    return Line(label="answers/s", points=points, color="#1a66b3")


def _refusals(trace: Trace) -> Line:
    points = _per_s(trace, [moment.refused for moment in trace.moments])
    return Line(label="refusals (429)/s", points=points, color="#c0392b")


def _rate() -> Plot:
    print("400 requests/s permitted")
    trace = _traced(SimulatedEndpoint(_limited(400)), 2000)
    permitted = [(0.0, 400.0), (trace.elapsed_s, 400.0)]
    return Plot(
        title="2,000 rows, 400 requests/s permitted, 429 with Retry-After: 1 beyond",
        lines=(
            Line(label="permitted/s", points=permitted, color="#888888", dashed=True),
            _answers(trace),
            _refusals(trace),
        ),
    )


def _steps() -> Plot:
    print("400, 100 and 800 requests/s permitted")
    changes = [(10.0, _limited(100)), (20.0, _limited(800))]
    trace = _traced(SimulatedEndpoint(_limited(400), changes=changes), 12_000)
    for after_s, per_s in ((10.0, 100), (20.0, 800)):
        back_s = trace.reaches_s(0.9 * per_s, after_s=after_s)
        print(
            f"{per_s}/s: a second at 90 % of it is over {back_s:.1f} s after the step"
        )
    end_s = trace.elapsed_s
    permitted = [(0.0, 400.0), (10.0, 400.0), (10.0, 100.0), (20.0, 100.0)]
    permitted += [(20.0, 800.0), (end_s, 800.0)]
    return Plot(
        title="The limit steps 400, 100, 800 requests/s, and nobody tells",
        lines=(
            Line(label="permitted/s", points=permitted, color="#888888", dashed=True),
            _answers(trace),
            _refusals(trace),
        ),
    )


def _peak() -> Plot:
    print(f"throughput is highest at {_BEST} in flight")
    conditions = Conditions(latency=_SCATTERED, speed=peak(_BEST))
    trace = _traced(SimulatedEndpoint(conditions), 20_000)
    share = 20_000 / trace.elapsed_s / _BEST_PER_S
    print(f"{share:.1%} of the rate at {_BEST} from the first request to the last")
    times_s = [moment.at_s for moment in trace.moments]
    in_flight = [float(moment.in_flight) for moment in trace.moments]
    best = [(0.0, float(_BEST)), (trace.elapsed_s, float(_BEST))]
    most = [(0.0, float(_BEST_PER_S)), (trace.elapsed_s, float(_BEST_PER_S))]
    return Plot(
        title=f"Throughput peaks at {_BEST} requests in flight and falls beyond",
        lines=(
            Line(label="most answers/s", points=most, color="#888888", dashed=True),
            _answers(trace),
            Line(label="best in flight", points=best, color="#888888", dashed=True),
            Line(
                label="in flight",
                points=smoothed(times_s, in_flight, width=1),
                color="#d98200",
            ),
        ),
    )


if __name__ == "__main__":
    main()
