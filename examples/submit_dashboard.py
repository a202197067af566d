r"""A page that shows a submission as it runs: counts, and the newest answers.

The rows of a CSV file go to a deployment in jobs of many; the browser gets an event for
each answer. Closing the page cancels the jobs that run.

    export SUTRO_API_URL=http://127.0.0.1:8642 SUTRO_API_KEY=sk_live_...
    python examples/submit_dashboard.py examples/leads.csv --function lead-qualifier
    python examples/submit_dashboard.py examples/reviews.csv --column review

Then open http://127.0.0.1:8080. Each visit to the page is a run of its own.
"""

import argparse
import os
import sys
from collections.abc import AsyncIterator
from functools import partial

import anyio
import orjson
from aiohttp import web

import sutro_stream as ss

# What is not sent by then is cut off, so that Ctrl-C does not take minutes.
SHUTDOWN_GRACE_S = 1.0
COUNTS_INTERVAL_S = 0.5

PAGE = """<!doctype html>
<meta charset="utf-8">
<title>Submission</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 50rem; }
  #counts { font-variant-numeric: tabular-nums; }
  .failed { color: #a00; }
</style>
<h1>Submission</h1>
<p id="counts">starting</p>
<ol id="answers" reversed></ol>
<script>
  const counts = document.getElementById("counts");
  const answers = document.getElementById("answers");
  const events = new EventSource("/events");
  events.addEventListener("counts", ({data}) => {
    const seen = JSON.parse(data);
    counts.textContent = `${seen.answered} answered, ${seen.failed} failed, ` +
      `${seen.jobs} jobs running, ${seen.seconds} s`;
  });
  events.addEventListener("answer", ({data}) => {
    const answer = JSON.parse(data);
    const item = document.createElement("li");
    item.value = answer.index;
    item.textContent = answer.error ?? answer.output;
    item.className = answer.error ? "failed" : "";
    answers.prepend(item);
    while (answers.children.length > 50) answers.lastChild.remove();
  });
  events.addEventListener("end", ({data}) => {
    counts.textContent += ` - ${JSON.parse(data).reason}`;
    events.close();
  });
</script>
"""


def create_app(
    deployment: ss.Deployment, pipeline: ss.Pipeline[ss.Result]
) -> web.Application:
    """The service.

    Run it with `handler_cancellation=True`, as `main` does, so that leaving the page
    cancels its jobs at once.

    Args:
        deployment: Opened and closed with the application.
        pipeline: What each visit runs; asks the deployment.
    """

    async def connections(_: web.Application) -> AsyncIterator[None]:
        async with deployment:
            yield

    app = web.Application()
    app.cleanup_ctx.append(connections)
    app.router.add_get("/", page)
    app.router.add_get("/events", partial(events, pipeline))
    return app


async def page(_: web.Request) -> web.Response:
    """The page itself."""
    return web.Response(text=PAGE, content_type="text/html")


async def events(
    pipeline: ss.Pipeline[ss.Result], request: web.Request
) -> web.StreamResponse:
    """Run the pipeline, and tell of it as server-sent events.

    Cancellation: the pipeline stops, and its jobs are cancelled.
    """
    headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    reason = "complete"
    try:
        async with pipeline.open() as results, anyio.create_task_group() as tasks:
            tasks.start_soon(tell_counts, results, response)
            async for result in results:
                error = None if result.error is None else f"{result.error}"
                answer = {"index": result.index, "output": result.text, "error": error}
                await response.write(event("answer", answer))
            tasks.cancel_scope.cancel()
        await response.write(event("counts", counts(results)))
    except ss.SutroStreamError as error:
        # Why is for whoever runs the service.
        request.app.logger.warning("submission: %s", error)
        reason = "the deployment cannot go on; the service's log says why"
    await response.write(event("end", {"reason": reason}))
    await response.write_eof()
    return response


async def tell_counts(
    results: ss.Results[ss.Result], response: web.StreamResponse
) -> None:
    """Send the counts now and again, also while nothing is answered."""
    while True:
        await response.write(event("counts", counts(results)))
        await anyio.sleep(COUNTS_INTERVAL_S)


def counts(results: ss.Results[ss.Result]) -> dict[str, object]:
    """How far a run is."""
    seen = results.statistics()
    return {
        "answered": seen.rows_answered,
        "failed": seen.rows_failed,
        "jobs": seen.rows_in_flight,
        "seconds": round(seen.elapsed_s, 1),
    }


def event(name: str, value: object) -> bytes:
    """One server-sent event."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(value))


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description="Watch a submission in a browser.")
    add = parser.add_argument
    add("input", help="a CSV file")
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--function", metavar="NAME", help="published Function")
    asked.add_argument("--column", metavar="NAME", help="column of prompts")
    add("--model", metavar="NAME", help="for prompts; else the deployment's default")
    add("--batch-rows", type=int, default=100, metavar="N", help="rows of a job")
    add("--port", type=int, default=8080, help="port on 127.0.0.1; 0 picks a free one")
    options = parser.parse_args()
    deployment = ss.Deployment(
        os.environ.get("SUTRO_API_URL", ""), os.environ.get("SUTRO_API_KEY", "")
    )
    submit = ss.submit(
        deployment,
        options.function or options.model,
        batch_rows=options.batch_rows,
        ordered=False,
    )
    rows = ss.read_csv(options.input)
    pipeline = rows | submit
    if options.column is not None:
        pipeline = rows | ss.prompts(options.column) | submit
    web.run_app(
        create_app(deployment, pipeline),
        host="127.0.0.1",
        port=options.port,
        handler_cancellation=True,
        shutdown_timeout=SHUTDOWN_GRACE_S,
    )


if __name__ == "__main__":
    try:
        main()
    except ss.SutroStreamError as error:
        sys.exit(f"submit_dashboard: {error}")
