"""What accounts are not told."""

import pytest

from sutro_stream.jobs.discretion import without_addresses


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (
            "http://10.0.0.5:8000 answered HTTP 400: no such thing",
            "the model's endpoint answered HTTP 400: no such thing",
        ),
        (
            "nobody answers at https://gpu.internal/v1; start it",
            "nobody answers at the model's endpoint; start it",
        ),
        (
            "http://[::1]:8000 stopped; so did http://b:1",
            "the model's endpoint stopped; so did the model's endpoint",
        ),
        ("the embedded engine stopped", "the embedded engine stopped"),
    ],
)
def test_addresses_of_endpoints_are_left_out(message: str, told: str) -> None:
    """They are the operator's own affair."""
    assert without_addresses(message) == told
