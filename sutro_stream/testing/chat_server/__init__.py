"""A scripted OpenAI-compatible chat server.

In the same process:

    async with ScriptedChatServer(fail_every(3, Reply(status=503))) as server:
        ...  # point a client at server.base_url
        assert server.statistics().peak_in_flight <= 8

In a process of its own, `python -m sutro_stream.testing.chat_server --help`, or
`chat_server_process("--latency-ms", "100")` from Python.
"""

from sutro_stream.testing.chat_server.adversity import (
    congested,
    fail_share,
    rate_steps,
    slow_share,
)
from sutro_stream.testing.chat_server.latency import (
    Constant,
    Distribution,
    LogNormal,
    Uniform,
)
from sutro_stream.testing.chat_server.process import (
    ChatServerProcess,
    chat_server_process,
)
from sutro_stream.testing.chat_server.recording import (
    RecordedRequest,
    read_record,
    recorded,
)
from sutro_stream.testing.chat_server.replies import (
    Cut,
    Fault,
    GarbageBody,
    Hang,
    HugeBody,
    Reply,
    SlowBody,
)
from sutro_stream.testing.chat_server.requests import ChatRequest
from sutro_stream.testing.chat_server.scripts import (
    Script,
    always,
    constant,
    echo,
    fail_every,
    fail_first_attempts,
    first_of,
    rate_limited,
    when,
    with_latency,
)
from sutro_stream.testing.chat_server.server import ScriptedChatServer
from sutro_stream.testing.chat_server.statistics import ChatServerStatistics

__all__ = [
    "ChatRequest",
    "ChatServerProcess",
    "ChatServerStatistics",
    "Constant",
    "Cut",
    "Distribution",
    "Fault",
    "GarbageBody",
    "Hang",
    "HugeBody",
    "LogNormal",
    "RecordedRequest",
    "Reply",
    "Script",
    "ScriptedChatServer",
    "SlowBody",
    "Uniform",
    "always",
    "chat_server_process",
    "congested",
    "constant",
    "echo",
    "fail_every",
    "fail_first_attempts",
    "fail_share",
    "first_of",
    "rate_limited",
    "rate_steps",
    "read_record",
    "recorded",
    "slow_share",
    "when",
    "with_latency",
]
