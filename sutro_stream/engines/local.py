"""The embedded engine: a small model in a subprocess, no server to set up."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import anyio.to_thread

from sutro_stream.engines.chat import ChatEngine
from sutro_stream.engines.embedded_model import (
    default_model,
    model_file,
    require_runtime,
)
from sutro_stream.engines.embeddings import EmbeddingEngine
from sutro_stream.engines.local_process import (
    LocalServer,
    ServerSettings,
    local_server_process,
)
from sutro_stream.engines.tokenizer import Tokenizer
from sutro_stream.engines.wrapper import ResponderWrapper
from sutro_stream.errors import (
    ConfigurationError,
    EngineUnavailableError,
    InputTooLongError,
    ProtocolError,
    RequestTimeoutError,
    TransportError,
)
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.outcomes import Answer

_NAME = "the embedded engine"
_NEWS_OF_DEATH_S = 0.5


class LocalEngine:
    """A model on this machine, served by llama.cpp in a subprocess.

    The process starts on entering the context and ends on leaving it, or with
    this process however that ends. Its crash fails requests with
    `EngineUnavailableError`; it is not started again within the context.

    Concurrency: one engine serves any number of pipelines of one event loop.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        parallel: int = 8,
        context_tokens: int = 2048,
        threads: int | None = None,
        start_timeout_s: float = 60,
        embedding: bool = False,
    ) -> None:
        """Describe the engine; nothing is started or looked for yet.

        Args:
            model: A GGUF file. `None` takes the one installed as a package, a toy
                that shows how everything works.
            parallel: Requests worked on at the same time; more of them wait.
            context_tokens: Window of each request, for prompt and answer together.
                Memory grows with `parallel * context_tokens`.
            threads: Threads to compute in, `None` for one on each core.
            start_timeout_s: Longest wait for the process to be ready, in seconds.
            embedding: Whether answers are vectors instead of text, as those of
                `EmbeddingEngine`.

        Raises:
            ConfigurationError: A number is below 1.
        """
        counts = {
            "parallel": parallel,
            "context_tokens": context_tokens,
            "threads": threads,
        }
        for name, count in counts.items():
            if count is not None and count < 1:
                raise ConfigurationError(f"{_NAME}: {name} must be at least 1")
        if not start_timeout_s > 0:
            raise ConfigurationError(f"{_NAME}: start_timeout_s must be above 0")
        self._model = model
        self._parallel = parallel
        self._context_tokens = context_tokens
        self._threads = threads or _available_cores()
        self._start_timeout_s = start_timeout_s
        self._embedding = embedding
        self._stack: AsyncExitStack | None = None
        self._server: LocalServer | None = None
        self._client: ChatEngine | EmbeddingEngine | None = None

    def __repr__(self) -> str:
        state = "closed" if self.process_id is None else f"process {self.process_id}"
        return f"<LocalEngine {state}>"

    @property
    def name(self) -> str:
        """How messages call it."""
        return _NAME

    @property
    def default_concurrency(self) -> int:
        """As many requests as are worked on at the same time."""
        return self._parallel

    @property
    def process_id(self) -> int | None:
        """Process id of the subprocess, `None` outside the context."""
        return None if self._server is None else self._server.process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it is open and its subprocess runs."""
        server = self._server
        return server is not None and server.process.returncode is None

    def tokenizer(self) -> Tokenizer | None:
        """See `LendsTokenizer`; `None` while the engine is not open."""
        return None if self._client is None else self._client.tokenizer()

    async def __aenter__(self) -> Self:
        """Start the process and wait until it answers.

        Cancellation: the process is stopped.

        Raises:
            ConfigurationError: The model's path leads to no GGUF file, or the
                engine is open already.
            EngineUnavailableError: Runtime or model are not installed (says the
                command that installs them), or the process did not start (says
                why).
        """
        if self._stack is not None:
            raise ConfigurationError(f"{_NAME} is open already")
        async with AsyncExitStack() as stack:
            settings = await anyio.to_thread.run_sync(self._settings)
            server = await stack.enter_async_context(
                local_server_process(settings, start_timeout_s=self._start_timeout_s)
            )
            self._client = await stack.enter_async_context(
                self._client_of(server, settings.model.stem)
            )
            self._server = server
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the process; takes at most about a second."""
        stack, self._stack = self._stack, None
        self._server = self._client = None
        if stack is not None:
            await stack.aclose()

    def bind(self, instructions: Instructions) -> LocalResponder:
        if self._client is None or self._server is None:
            message = f"{_NAME} is not open; use it inside `async with engine:`"
            raise ConfigurationError(message)
        return LocalResponder(
            self._client.bind(instructions),
            server=self._server,
            context_tokens=self._context_tokens,
        )

    def _client_of(
        self, server: LocalServer, model: str
    ) -> ChatEngine | EmbeddingEngine:
        address = f"{server.address}/v1"
        if self._embedding:
            return EmbeddingEngine(
                address, model, api_key=server.api_key, dialect="llama.cpp"
            )
        # Without streaming, a busy server does not notice that a request was
        # cancelled, and works on it to its end.
        return ChatEngine(
            address, model, api_key=server.api_key, dialect="llama.cpp", stream=True
        )

    def _settings(self) -> ServerSettings:
        require_runtime()
        model = default_model() if self._model is None else model_file(self._model)
        return ServerSettings(
            model=model,
            parallel=self._parallel,
            context_tokens=self._context_tokens,
            threads=self._threads,
            embedding=self._embedding,
        )


@dataclass(frozen=True, slots=True)
class LocalResponder(ResponderWrapper):
    """`Responder` of the embedded engine: tells a dead server from a bad moment."""

    server: LocalServer
    context_tokens: int

    async def answer(self, prompt: str, *, seed: int | None = None) -> Answer:
        try:
            return await self.responder.answer(prompt, seed=seed)
        except InputTooLongError as error:
            if (error.context_tokens or 0) < self.context_tokens:
                raise
            raise InputTooLongError(
                f"{error}; LocalEngine(context_tokens=...) sets the window",
                prompt_tokens=error.prompt_tokens,
                context_tokens=error.context_tokens,
            ) from error
        except RequestTimeoutError:
            raise
        except (TransportError, ProtocolError) as error:
            ending = await self.server.ending(within_s=_NEWS_OF_DEATH_S)
            if ending is None:
                raise
            raise EngineUnavailableError(
                f"{_NAME} stopped in the middle of its work ({ending})"
            ) from error


def _available_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
