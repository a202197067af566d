"""Stream large tables through a language model and back.

Names are imported when they are first used, so that a program that only looks at the
package (`sutro-stream --help`) does not wait for Arrow and HTTP.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from sutro_stream.version import __version__

if TYPE_CHECKING:
    from sutro_stream.deployments.deployment import Deployment
    from sutro_stream.engines.chat import ChatEngine
    from sutro_stream.engines.embeddings import EmbeddingEngine
    from sutro_stream.engines.engine import Engine, Responder
    from sutro_stream.engines.group import EngineGroup
    from sutro_stream.engines.hedging import Hedge
    from sutro_stream.engines.local import LocalEngine
    from sutro_stream.errors import (
        AuthenticationError,
        BadReplyError,
        BudgetExhaustedError,
        ConfigurationError,
        EngineError,
        EngineUnavailableError,
        InputTooLongError,
        NotFoundError,
        ProtocolError,
        QuotaError,
        RateLimitedError,
        RequestTimeoutError,
        RunStoppedError,
        ServiceError,
        SinkError,
        SourceError,
        SourceNotFoundError,
        StageError,
        StopReason,
        StoreDamagedError,
        StoreError,
        StoreInUseError,
        SutroStreamError,
        TransportError,
        UncertainSubmissionError,
        UnreadableInputError,
        WorkChangedError,
    )
    from sutro_stream.flow.budget import Budget
    from sutro_stream.flow.meter import Statistics
    from sutro_stream.flow.retry import RetryPolicy
    from sutro_stream.flow.sharing import SharedLimits
    from sutro_stream.flow.stage import Stage
    from sutro_stream.formats.csv_options import CsvOptions
    from sutro_stream.ledger.ledger import OpenMode
    from sutro_stream.pipeline.api import (
        embed,
        infer,
        limit,
        map_batches,
        messages,
        prompts,
        render,
        submit,
    )
    from sutro_stream.pipeline.file_pipeline import FilePipeline
    from sutro_stream.pipeline.limits import Limits
    from sutro_stream.pipeline.pipeline import Pipeline
    from sutro_stream.pipeline.places import (
        from_rows,
        read,
        read_csv,
        read_parquet,
        read_url,
        write_csv,
        write_jsonl,
        write_parquet,
    )
    from sutro_stream.pipeline.report import RunReport, RunStatus
    from sutro_stream.pipeline.results import Results
    from sutro_stream.sinks.sink import Sink, Writer
    from sutro_stream.sources.source import Reader, Source
    from sutro_stream.values.function import Function, FunctionInput, InputType
    from sutro_stream.values.instructions import Instructions
    from sutro_stream.values.job import JobState
    from sutro_stream.values.outcomes import (
        Answer,
        ErrorKind,
        Outcome,
        Result,
        RowError,
        TokenLogprob,
        Usage,
    )
    from sutro_stream.values.prices import PriceList, Prices
    from sutro_stream.values.prompts import Prompt
    from sutro_stream.values.rows import Row
    from sutro_stream.values.sampling import SamplingParams
    from sutro_stream.wire.responses import JobInfo
    from sutro_stream.wire.submission import Submission

__all__ = [
    "Answer",
    "AuthenticationError",
    "BadReplyError",
    "Budget",
    "BudgetExhaustedError",
    "ChatEngine",
    "ConfigurationError",
    "CsvOptions",
    "Deployment",
    "EmbeddingEngine",
    "Engine",
    "EngineError",
    "EngineGroup",
    "EngineUnavailableError",
    "ErrorKind",
    "FilePipeline",
    "Function",
    "FunctionInput",
    "Hedge",
    "InputTooLongError",
    "InputType",
    "Instructions",
    "JobInfo",
    "JobState",
    "Limits",
    "LocalEngine",
    "NotFoundError",
    "OpenMode",
    "Outcome",
    "Pipeline",
    "PriceList",
    "Prices",
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
    "RunStoppedError",
    "SamplingParams",
    "ServiceError",
    "SharedLimits",
    "Sink",
    "SinkError",
    "Source",
    "SourceError",
    "SourceNotFoundError",
    "Stage",
    "StageError",
    "Statistics",
    "StopReason",
    "StoreDamagedError",
    "StoreError",
    "StoreInUseError",
    "Submission",
    "SutroStreamError",
    "TokenLogprob",
    "TransportError",
    "UncertainSubmissionError",
    "UnreadableInputError",
    "Usage",
    "WorkChangedError",
    "Writer",
    "__version__",
    "embed",
    "from_rows",
    "infer",
    "limit",
    "map_batches",
    "messages",
    "prompts",
    "read",
    "read_csv",
    "read_parquet",
    "read_url",
    "render",
    "submit",
    "write_csv",
    "write_jsonl",
    "write_parquet",
]

_EXPORTS = {
    "sutro_stream.pipeline.limits": ("Limits",),
    "sutro_stream.flow.budget": ("Budget",),
    "sutro_stream.engines.embeddings": ("EmbeddingEngine",),
    "sutro_stream.values.prices": ("PriceList", "Prices"),
    "sutro_stream.engines.hedging": ("Hedge",),
    "sutro_stream.engines.group": ("EngineGroup",),
    "sutro_stream.deployments.deployment": ("Deployment",),
    "sutro_stream.engines.chat": ("ChatEngine",),
    "sutro_stream.engines.engine": (
        "Engine",
        "Responder",
    ),
    "sutro_stream.engines.local": ("LocalEngine",),
    "sutro_stream.errors": (
        "AuthenticationError",
        "BadReplyError",
        "BudgetExhaustedError",
        "ConfigurationError",
        "EngineError",
        "EngineUnavailableError",
        "InputTooLongError",
        "NotFoundError",
        "ProtocolError",
        "QuotaError",
        "RateLimitedError",
        "RequestTimeoutError",
        "RunStoppedError",
        "ServiceError",
        "SinkError",
        "SourceError",
        "SourceNotFoundError",
        "StageError",
        "StopReason",
        "StoreDamagedError",
        "StoreError",
        "StoreInUseError",
        "SutroStreamError",
        "TransportError",
        "UncertainSubmissionError",
        "UnreadableInputError",
        "WorkChangedError",
    ),
    "sutro_stream.flow.meter": ("Statistics",),
    "sutro_stream.flow.retry": ("RetryPolicy",),
    "sutro_stream.flow.sharing": ("SharedLimits",),
    "sutro_stream.flow.stage": ("Stage",),
    "sutro_stream.ledger.ledger": ("OpenMode",),
    "sutro_stream.pipeline.api": (
        "embed",
        "infer",
        "limit",
        "map_batches",
        "messages",
        "prompts",
        "render",
        "submit",
    ),
    "sutro_stream.pipeline.places": (
        "from_rows",
        "read",
        "read_csv",
        "read_parquet",
        "read_url",
        "write_csv",
        "write_jsonl",
        "write_parquet",
    ),
    "sutro_stream.pipeline.file_pipeline": ("FilePipeline",),
    "sutro_stream.pipeline.pipeline": ("Pipeline",),
    "sutro_stream.pipeline.report": (
        "RunReport",
        "RunStatus",
    ),
    "sutro_stream.pipeline.results": ("Results",),
    "sutro_stream.sinks.sink": (
        "Sink",
        "Writer",
    ),
    "sutro_stream.formats.csv_options": ("CsvOptions",),
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
    "sutro_stream.values.job": ("JobState",),
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
    "sutro_stream.wire.responses": ("JobInfo",),
    "sutro_stream.wire.submission": ("Submission",),
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
