"""Prices, and estimates against jobs whose tokens are known."""

from __future__ import annotations

import pytest

from sutro_stream.errors import NotFoundError
from sutro_stream.jobs.cost import Estimate, PromptSample, estimate, price
from sutro_stream.values.catalogue import Model, ModelKind

MODEL = Model(name="m", input_price=1.0, output_price=4.0, mean_output_tokens=10)
OVERHEAD = 7


class WordTokenizer:
    """Tokens are words; without a server, nothing is counted."""

    def __init__(self, *, is_there: bool = True) -> None:
        self.is_there = is_there
        self.counted = 0

    async def count(self, text: str) -> int:
        """Words."""
        if not self.is_there:
            raise NotFoundError("no tokenizer", status=404)
        self.counted += 1
        return len(text.split())

    async def cut(self, text: str, tokens: int) -> str:
        """The first words."""
        return " ".join(text.split()[:tokens])

    async def overhead(self, system_prompt: str | None) -> int:
        """A template, and the words of the system prompt."""
        return OVERHEAD + await self.count(system_prompt or "")


def sample_of(prompts: list[str | None], **arguments: int) -> PromptSample:
    """All prompts, in batches."""
    sample = PromptSample("job-1", **arguments)
    for start in range(0, len(prompts), 100):
        sample.add(prompts[start : start + 100])
    return sample


def test_price_by_kind_of_token() -> None:
    """USD for a million of each."""
    assert price(MODEL, 2_000_000, 500_000) == pytest.approx(4.0)


def test_vectors_cost_their_input() -> None:
    """Nothing is written."""
    vectors = Model(
        name="e", kind=ModelKind.EMBEDDING, input_price=1.0, output_price=4.0
    )
    assert price(vectors, 1_000_000, 1_000_000) == pytest.approx(1.0)


async def test_a_small_job_is_counted_whole() -> None:
    """Prompts, system prompt and template."""
    sample = sample_of(["a b c", "a", None])
    made = await estimate(MODEL, WordTokenizer(), sample, system_prompt="be brief")
    tokens = 4 + 3 * (OVERHEAD + 2)
    assert made == Estimate(
        rows=3,
        input_tokens=tokens,
        output_tokens=30,
        usd=price(MODEL, tokens, 30),
        sampled_rows=3,
        is_counted=True,
    )
    assert not made.is_sampled
    assert made.note == "input tokens of all 3 rows counted by the model's tokenizer"


async def test_a_large_job_is_sampled_and_says_so() -> None:
    """Close to the truth, at the price of the sample."""
    prompts: list[str | None] = ["word " * (row % 50) for row in range(20_000)]
    tokenizer = WordTokenizer()
    made = await estimate(MODEL, tokenizer, sample_of(prompts))
    truth = sum(row % 50 for row in range(20_000)) + 20_000 * OVERHEAD
    assert made.input_tokens == pytest.approx(truth, rel=0.01)
    assert tokenizer.counted == 500 + 1
    assert made.is_sampled
    assert "a random sample of 500 of 20,000 rows" in made.note


async def test_cut_rows_count_as_cut() -> None:
    """Nobody pays for what is not sent."""
    prompts: list[str | None] = [*["word " * 10] * 900, *["word " * 5000] * 100]
    made = await estimate(
        MODEL, WordTokenizer(), sample_of(prompts), most_input_tokens=100 + OVERHEAD
    )
    truth = 900 * 10 + 100 * 100 + 1000 * OVERHEAD
    assert made.input_tokens == pytest.approx(truth, rel=0.15)


def test_the_same_job_has_the_same_sample() -> None:
    """An estimate can be repeated; another job's sample is another one."""
    prompts: list[str | None] = [str(row) for row in range(5000)]
    first = sample_of(prompts, most_rows=10).texts
    assert first == sample_of(prompts, most_rows=10).texts
    other = PromptSample("job-2", most_rows=10)
    other.add(prompts)
    assert other.texts != first


def test_every_row_may_be_in_the_sample() -> None:
    """Late ones as well as early ones."""
    sample = sample_of([str(row) for row in range(10_000)], most_rows=1000)
    rows = [int(text) for text in sample.texts]
    assert len(set(rows)) == 1000
    assert sum(rows) / 1000 == pytest.approx(5000, abs=500)


@pytest.mark.parametrize("tokenizer", [None, WordTokenizer(is_there=False)])
async def test_without_a_tokenizer_the_length_must_do(
    tokenizer: WordTokenizer | None,
) -> None:
    """And that is said."""
    made = await estimate(MODEL, tokenizer, sample_of(["x" * 4000] * 10))
    assert made.input_tokens == pytest.approx(10_000, rel=0.1)
    assert not made.is_counted
    assert "guessed from their length" in made.note


async def test_no_rows_cost_nothing() -> None:
    """A file may be empty."""
    made = await estimate(MODEL, WordTokenizer(), sample_of([]))
    assert (made.input_tokens, made.usd) == (0, 0.0)
