"""Stream large tables through a language model and back.

Names are imported when they are first used, so that a program that only looks at the
package (`sutro-stream --help`) does not wait for Arrow and HTTP.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sutro_stream.engines.chat import ChatEngine
    from sutro_stream.engines.engine import Engine, Responder
    from sutro_stream.engines.local import LocalEngine
    from sutro_stream.errors import (
        AuthenticationError,
        ConfigurationError,
        EngineError,
        EngineUnavailableError,
        InputTooLongError,
        NotFoundError,
        ProtocolError,
        QuotaError,
        RateLimitedError,
        RequestTimeoutError,
        ServiceError,
        SinkError,
        SourceError,
        SourceNotFoundError,
        StageError,
        SutroStreamError,
        TransportError,
    )
    from sutro_stream.flow.meter import Statistics
    from sutro_stream.flow.retry import RetryPolicy
    from sutro_stream.flow.stage import Stage
    from sutro_stream.pipeline.build import (
        from_rows,
        infer,
        limit,
        map_batches,
        prompts,
        read_csv,
        read_parquet,
        read_url,
        render,
        write_csv,
        write_jsonl,
        write_parquet,
    )
    from sutro_stream.pipeline.pipeline import FilePipeline, Pipeline
    from sutro_stream.pipeline.report import RunReport, RunStatus
    from sutro_stream.pipeline.results import Results
    from sutro_stream.sinks.sink import Sink, Writer
    from sutro_stream.sources.csv_options import CsvOptions
    from sutro_stream.sources.source import Reader, Source
    from sutro_stream.values.function import Function, FunctionInput, InputType
    from sutro_stream.values.instructions import Instructions
    from sutro_stream.values.outcomes import (
        Answer,
        ErrorKind,
        Outcome,
        Result,
        RowError,
        TokenLogprob,
        Usage,
    )
    from sutro_stream.values.prompts import Prompt
    from sutro_stream.values.rows import Row
    from sutro_stream.values.sampling import SamplingParams

__version__ = "0.1.0"
__all__ = [
    "Answer",
    "AuthenticationError",
    "ChatEngine",
    "ConfigurationError",
    "CsvOptions",
    "Engine",
    "EngineError",
    "EngineUnavailableError",
    "ErrorKind",
    "FilePipeline",
    "Function",
    "FunctionInput",
    "InputTooLongError",
    "InputType",
    "Instructions",
    "LocalEngine",
    "NotFoundError",
    "Outcome",
    "Pipeline",
    "Prompt",
    "ProtocolError",
    "QuotaError",
    "RateLimitedError",
    "Reader",
    "RequestTimeoutError",
    "Responder",
    "Result",
    "Results",
    "RetryPolicy",
    "Row",
    "RowError",
    "RunReport",
    "RunStatus",
    "SamplingParams",
    "ServiceError",
    "Sink",
    "SinkError",
    "Source",
    "SourceError",
    "SourceNotFoundError",
    "Stage",
    "StageError",
    "Statistics",
    "SutroStreamError",
    "TokenLogprob",
    "TransportError",
    "Usage",
    "Writer",
    "__version__",
    "from_rows",
    "infer",
    "limit",
    "map_batches",
    "prompts",
    "read_csv",
    "read_parquet",
    "read_url",
    "render",
    "write_csv",
    "write_jsonl",
    "write_parquet",
]

_EXPORTS = {
    "sutro_stream.engines.chat": ("ChatEngine",),
    "sutro_stream.engines.engine": (
        "Engine",
        "Responder",
    ),
    "sutro_stream.engines.local": ("LocalEngine",),
    "sutro_stream.errors": (
        "AuthenticationError",
        "ConfigurationError",
        "EngineError",
        "EngineUnavailableError",
        "InputTooLongError",
        "NotFoundError",
        "ProtocolError",
        "QuotaError",
        "RateLimitedError",
        "RequestTimeoutError",
        "ServiceError",
        "SinkError",
        "SourceError",
        "SourceNotFoundError",
        "StageError",
        "SutroStreamError",
        "TransportError",
    ),
    "sutro_stream.flow.meter": ("Statistics",),
    "sutro_stream.flow.retry": ("RetryPolicy",),
    "sutro_stream.flow.stage": ("Stage",),
    "sutro_stream.pipeline.build": (
        "from_rows",
        "infer",
        "limit",
        "map_batches",
        "prompts",
        "read_csv",
        "read_parquet",
        "read_url",
        "render",
        "write_csv",
        "write_jsonl",
        "write_parquet",
    ),
    "sutro_stream.pipeline.pipeline": (
        "FilePipeline",
        "Pipeline",
    ),
    "sutro_stream.pipeline.report": (
        "RunReport",
        "RunStatus",
    ),
    "sutro_stream.pipeline.results": ("Results",),
    "sutro_stream.sinks.sink": (
        "Sink",
        "Writer",
    ),
    "sutro_stream.sources.csv_options": ("CsvOptions",),
    "sutro_stream.sources.source": (
        "Reader",
        "Source",
    ),
    "sutro_stream.values.function": (
        "Function",
        "FunctionInput",
        "InputType",
    ),
    "sutro_stream.values.instructions": ("Instructions",),
    "sutro_stream.values.outcomes": (
        "Answer",
        "ErrorKind",
        "Outcome",
        "Result",
        "RowError",
        "TokenLogprob",
        "Usage",
    ),
    "sutro_stream.values.prompts": ("Prompt",),
    "sutro_stream.values.rows": ("Row",),
    "sutro_stream.values.sampling": ("SamplingParams",),
}
_HOMES = {name: module for module, names in _EXPORTS.items() for name in names}


if not TYPE_CHECKING:
    # Seen by a type checker, `__getattr__` would make every misspelt name an object.

    def __getattr__(name: str) -> object:
        """Import a public name when it is first asked for.

        Tables and HTTP take a second to import, which `sutro-stream --help` and a
        Ctrl-C right after the start should not have to wait for.
        """
        module = _HOMES.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(module), name)
        return value

    def __dir__() -> list[str]:
        """The public names."""
        return sorted(__all__)
