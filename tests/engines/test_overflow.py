"""What endpoints say of prompts that are too long, in their own words."""

from __future__ import annotations

import pytest

from sutro_stream.errors import InputTooLongError
from sutro_stream.wire.openai.failures import error_for


@pytest.mark.parametrize(
    ("message", "prompt_tokens", "context_tokens"),
    [
        (
            (
                "This model's maximum context length is 2048 tokens. However, you "
                "requested 2550 tokens (1050 in the messages, 1500 in the completion)."
            ),
            1050,
            2048,
        ),
        (
            (
                "This model's maximum context length is 8192 tokens. However, your "
                "messages resulted in 10000 tokens. Please reduce their length."
            ),
            10000,
            8192,
        ),
        (
            (
                "This model's maximum context length is 2048 tokens. However, your "
                "request has 3000 input tokens. Please reduce the length of the input."
            ),
            3000,
            2048,
        ),
        (
            (
                "The decoder prompt (length 3000) is longer than the maximum model "
                "length of 2048. Make sure that max_model_len is no smaller."
            ),
            3000,
            2048,
        ),
        (
            (
                "You passed 2049 input tokens and requested 1 output tokens. However, "
                "the model's context length is only 2048 tokens."
            ),
            2049,
            2048,
        ),
        (
            (
                "The input (3000 tokens) is longer than the model's context length "
                "(2048 tokens)."
            ),
            3000,
            2048,
        ),
        ("The input is too long.", None, None),
    ],
)
def test_lengths_are_read_from_the_message(
    message: str, prompt_tokens: int | None, context_tokens: int | None
) -> None:
    """Where there are no fields for them."""
    error = error_for({"message": message}, status=400, endpoint="e", prompt="p")
    assert isinstance(error, InputTooLongError)
    assert error.prompt_tokens == prompt_tokens
    assert error.context_tokens == context_tokens
