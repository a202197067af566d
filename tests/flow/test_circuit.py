"""When a run stops asking."""

from sutro_stream.errors import (
    EngineUnavailableError,
    InputTooLongError,
    ServiceError,
    TransportError,
)
from sutro_stream.flow.circuit import Circuit

BROKEN = ServiceError("answered HTTP 500", status=500)
REFUSED = ServiceError("answered HTTP 400", status=400)
NOBODY = TransportError("connection refused", connected=False)


def test_it_opens_after_a_streak_and_tells_the_last_reason() -> None:
    """The limit counts rows in a row."""
    circuit = Circuit(failures=3)
    assert [circuit.failed(BROKEN) for _ in range(2)] == [None, None]
    end = circuit.failed(BROKEN)
    assert isinstance(end, EngineUnavailableError)
    assert "HTTP 500" in str(end)


def test_an_answer_ends_the_streak() -> None:
    """Failures among answers never open it."""
    circuit = Circuit(failures=2)
    for _ in range(5):
        assert circuit.failed(BROKEN) is None
        circuit.answered()


def test_nobody_there_at_the_start_opens_it_at_once() -> None:
    """No use in trying every row at an address where nobody ever answered."""
    assert Circuit().failed(NOBODY) is not None


def test_nobody_there_later_is_one_failure_among_others() -> None:
    """An endpoint that restarts may come back."""
    circuit = Circuit(failures=2)
    circuit.answered()
    assert circuit.failed(NOBODY) is None
    assert circuit.failed(NOBODY) is not None


def test_long_rows_say_nothing_about_the_endpoint() -> None:
    """A sorted input may start with a thousand of them."""
    circuit = Circuit(failures=2)
    assert all(circuit.failed(InputTooLongError("long")) is None for _ in range(50))


def test_refusals_count_only_before_the_first_answer() -> None:
    """A setting that the endpoint refuses would be refused for every row."""
    circuit = Circuit(failures=2)
    circuit.failed(REFUSED)
    assert circuit.failed(REFUSED) is not None
    answered = Circuit(failures=2)
    answered.answered()
    assert all(answered.failed(REFUSED) is None for _ in range(50))
