r"""A web service that classifies texts, and streams each answer as it comes.

One engine serves all requests; every request is a pipeline of its own.

    python examples/web_service.py --port 8080
    python examples/web_service.py --engine http://127.0.0.1:8000/v1 --model my-model

    curl --no-buffer http://127.0.0.1:8080/classify \
        --data '["I love it.", "Awful, horrible."]'

The reply is one JSON object a line, in the order in which answers come, each with the
0-based `index` of its text:

    {"index": 1, "output": {"sentiment": "negative"}, "error": null}
    {"index": 0, "output": {"sentiment": "positive"}, "error": null}

If the engine is lost half way, the last line is `{"aborted": "..."}`.
"""

import argparse
import os
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import orjson
from aiohttp import web

import sutro_stream as ss

MAX_BODY_BYTES = 1 << 20
MAX_TEXTS = 10_000
# Of one request, so that a large one leaves room for others.
CONCURRENCY = 8
# What is not answered by then is cut off, so that Ctrl-C does not take minutes.
SHUTDOWN_GRACE_S = 1.0

FUNCTION = ss.Function.load(Path(__file__).parent / "sentiment.json")


class RefusedError(Exception):
    """A request that is not answered, with the HTTP status that says so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def create_app(engine: ss.Engine) -> web.Application:
    """The service.

    To notice at once that a client has left, run it with `handler_cancellation=True`,
    as `main` does; otherwise it shows when the next answer cannot be sent.

    Args:
        engine: Opened and closed with the application.
    """

    async def engine_context(_: web.Application) -> AsyncIterator[None]:
        async with engine:
            yield

    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app.cleanup_ctx.append(engine_context)
    app.router.add_get("/healthz", health)
    app.router.add_post("/classify", partial(classify, engine))
    return app


async def health(_: web.Request) -> web.Response:
    """Say that the service is up: its engine has started."""
    return web.json_response({"status": "ok"})


async def classify(engine: ss.Engine, request: web.Request) -> web.StreamResponse:
    """Answer with one line for each text.

    Cancellation: the pipeline stops, and the engine drops what is in flight.
    """
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    try:
        texts = await texts_of(request)
        await stream_answers(engine, texts, request, response)
    except RefusedError as error:
        return web.json_response({"error": f"{error}"}, status=error.status)
    except (ss.EngineError, ss.RunStoppedError) as error:
        # No text can be answered. Why is for whoever runs the service.
        request.app.logger.warning("classify: %s", error)
        reason = "the model cannot be reached; try again later"
        if not response.prepared:
            return web.json_response({"error": reason}, status=503)
        await response.write(line({"aborted": reason}))
    await response.write_eof()
    return response


async def stream_answers(
    engine: ss.Engine,
    texts: list[str],
    request: web.Request,
    response: web.StreamResponse,
) -> None:
    """Send answers as they come, no faster than the client reads them."""
    pipeline = (
        ss.from_rows([{"review": text} for text in texts])
        | ss.render(FUNCTION)
        # Somebody waits: an endpoint that is away is not waited for.
        | ss.infer(engine, concurrency=CONCURRENCY, ordered=False, patience_s=5.0)
    )
    async with pipeline.open() as results:
        async for result in results:
            if not response.prepared:
                # Not sooner: until the first answer, an error can have its status.
                await response.prepare(request)
            error = None if result.error is None else f"{result.error}"
            answer = {"index": result.index, "output": result.output, "error": error}
            await response.write(line(answer))


async def texts_of(request: web.Request) -> list[str]:
    """The texts in a request's body.

    Raises:
        RefusedError: It is too large, or no array of texts.
    """
    try:
        texts = orjson.loads(await request.read())
    except web.HTTPRequestEntityTooLarge:
        raise RefusedError(413, f"more than {MAX_BODY_BYTES:,} bytes") from None
    except orjson.JSONDecodeError as error:
        raise RefusedError(400, f"the body is not JSON: {error}") from None
    if not isinstance(texts, list) or not texts:
        raise RefusedError(400, "the body must be a JSON array with at least one text")
    if len(texts) > MAX_TEXTS:
        raise RefusedError(413, f"more than {MAX_TEXTS:,} texts")
    for index, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            raise RefusedError(400, f"item {index} is not a text, or empty")
    return texts


def line(value: object) -> bytes:
    """A value as one line of JSON."""
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(
        description="Classify texts over HTTP.",
        epilog="A key for the endpoint is taken from SUTRO_STREAM_API_KEY.",
    )
    add = parser.add_argument
    add("--port", type=int, default=8080, help="port on 127.0.0.1; 0 picks a free one")
    add("--engine", metavar="URL", help="an OpenAI-compatible endpoint, up to /v1")
    add("--model", metavar="NAME", help="model of that endpoint")
    options = parser.parse_args()
    if options.engine is None:
        engine: ss.ChatEngine | ss.LocalEngine = ss.LocalEngine()
    else:
        key = os.environ.get("SUTRO_STREAM_API_KEY")
        engine = ss.ChatEngine(options.engine, options.model, api_key=key)
    web.run_app(
        create_app(engine),
        host="127.0.0.1",
        port=options.port,
        handler_cancellation=True,
        shutdown_timeout=SHUTDOWN_GRACE_S,
    )


if __name__ == "__main__":
    try:
        main()
    except ss.SutroStreamError as error:
        sys.exit(f"web_service: {error}")
