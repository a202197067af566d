"""The shipped test kit: engines, servers and a clock that do as they are told.

Suites for sources, engines and sinks of your own are not among these names, since they
need pytest and nothing else here does. Import each from its module, and inherit it:

    from sutro_stream.testing.engine_suite import EngineSuite
    from sutro_stream.testing.sink_suite import SinkSuite
    from sutro_stream.testing.source_suite import SourceSuite

For failures that show the values compared, have pytest rewrite their assertions before
you import them: `pytest.register_assert_rewrite("sutro_stream.testing.engine_suite")`.
"""

from sutro_stream.testing.chat_server import (
    ChatRequest,
    ChatServerProcess,
    ChatServerStatistics,
    Constant,
    Cut,
    Distribution,
    Fault,
    GarbageBody,
    Hang,
    HugeBody,
    LogNormal,
    RecordedRequest,
    Reply,
    Script,
    ScriptedChatServer,
    SlowBody,
    Uniform,
    always,
    chat_server_process,
    congested,
    constant,
    echo,
    fail_every,
    fail_first_attempts,
    fail_share,
    first_of,
    rate_limited,
    rate_steps,
    read_record,
    recorded,
    slow_share,
    when,
    with_latency,
)
from sutro_stream.testing.scripted_engine import (
    EngineScript,
    ScriptedEngine,
    ScriptedReply,
    echo_prompt,
)
from sutro_stream.testing.simulated_endpoint import (
    Conditions,
    SimulatedEndpoint,
    gradual,
    knee,
    peak,
)
from sutro_stream.testing.simulated_quota import RateLimit
from sutro_stream.testing.simulated_trace import Trace
from sutro_stream.testing.simulator import SimulatedEngine
from sutro_stream.testing.virtual_time import VirtualTimeLoop, run_virtual

__all__ = [
    "ChatRequest",
    "ChatServerProcess",
    "ChatServerStatistics",
    "Conditions",
    "Constant",
    "Cut",
    "Distribution",
    "EngineScript",
    "Fault",
    "GarbageBody",
    "Hang",
    "HugeBody",
    "LogNormal",
    "RateLimit",
    "RecordedRequest",
    "Reply",
    "Script",
    "ScriptedChatServer",
    "ScriptedEngine",
    "ScriptedReply",
    "SimulatedEndpoint",
    "SimulatedEngine",
    "SlowBody",
    "Trace",
    "Uniform",
    "VirtualTimeLoop",
    "always",
    "chat_server_process",
    "congested",
    "constant",
    "echo",
    "echo_prompt",
    "fail_every",
    "fail_first_attempts",
    "fail_share",
    "first_of",
    "gradual",
    "knee",
    "peak",
    "rate_limited",
    "rate_steps",
    "read_record",
    "recorded",
    "run_virtual",
    "slow_share",
    "when",
    "with_latency",
]
