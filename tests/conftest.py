"""Assertions of the shipped suites show their values, as those of the tests do."""

import pytest

pytest.register_assert_rewrite(
    "sutro_stream.testing.engine_suite",
    "sutro_stream.testing.sink_suite",
    "sutro_stream.testing.source_suite",
)
