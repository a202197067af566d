"""Confidence from the probabilities of tokens, worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from sutro_stream.engines.confidence import (
    confidence,
    cumulative_logprob,
    scored_field,
    scoring,
)
from sutro_stream.engines.engine import Engine
from sutro_stream.testing import ScriptedEngine
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.outcomes import Answer, TokenLogprob
from sutro_stream.values.sampling import SamplingParams
from sutro_stream.values.schema import OutputSchema
from sutro_stream.wire.openai.completions import parse_completion

Token = tuple[str, float] | tuple[str, float, dict[str, float]]


def answer(*tokens: Token, text: str | None = None) -> Answer:
    """An answer of tokens, each with its probability and those of others."""
    entries = [
        TokenLogprob(
            token=token,
            logprob=math.log(probability),
            alternatives=tuple(
                (other, math.log(share)) for other, share in (rest or [{}])[0].items()
            ),
        )
        for token, probability, *rest in tokens
    ]
    if text is None:
        text = "".join(entry.token for entry in entries)
    return Answer(text=text, logprobs=tuple(entries))


def schema(**properties: Any) -> OutputSchema:
    """An object with these properties."""
    return OutputSchema.parse({"type": "object", "properties": properties})


LABEL = schema(label={"enum": ["positive", "negative"]})
OPENING: tuple[Token, ...] = (('{"', 0.3), ("label", 0.02), ('":', 0.9), (' "', 0.8))
CLOSING: Token = ('"}', 0.1)


def test_cumulative_logprob_is_the_sum() -> None:
    """Of all tokens, whatever they stand for."""
    assert cumulative_logprob(answer(("a", 0.5), ("b", 0.25))) == pytest.approx(
        math.log(0.125)
    )


def test_without_logprobs_nothing_is_told() -> None:
    """Neither of them is made up."""
    plain = Answer(text='{"label": "positive"}')
    assert cumulative_logprob(plain) is None
    assert confidence(plain, "label", LABEL) is None


def test_a_label_is_weighed_against_the_other_labels() -> None:
    """What the schema does not let pass, and everything around, has no say."""
    others = {"Positive": 0.5, "positive": 0.2, "negative": 0.05, "The": 0.001}
    given = answer(*OPENING, ("positive", 0.2, others), CLOSING)
    assert confidence(given, "label", LABEL) == pytest.approx(0.8)


def test_other_ways_to_write_a_label_count_with_it() -> None:
    """The model may begin with a shorter or a longer token."""
    others = {"positive": 0.2, "pos": 0.1, 'positive"': 0.1, "neg": 0.1, "?": 0.0001}
    given = answer(*OPENING, ("positive", 0.2, others), CLOSING)
    assert confidence(given, "label", LABEL) == pytest.approx(0.8)


def test_the_opening_quote_may_decide_too() -> None:
    """Quote and label can be one token."""
    opening = OPENING[:3]
    others = {' "negative': 0.1, ' "': 0.6, " {": 0.1, "\n": 0.05, "~": 0.0001}
    given = answer(*opening, (' "positive', 0.3, others), CLOSING)
    assert confidence(given, "label", LABEL) == pytest.approx(0.75)


def test_a_label_decided_in_several_tokens() -> None:
    """Each decision has its share, the product is the label's."""
    three = schema(label={"enum": ["positive", "poor", "negative"]})
    first = {"po": 0.6, "neg": 0.2, "~": 0.0001}
    second = {"sitive": 0.3, "or": 0.1, "~": 0.0001}
    given = answer(*OPENING, ("po", 0.6, first), ("sitive", 0.3, second), CLOSING)
    assert confidence(given, "label", three) == pytest.approx(0.75 * 0.75)


def test_a_decision_that_was_not_reported_is_not_guessed() -> None:
    """`negative` may have been as likely as the least of those that are shown."""
    others = {"Positive": 0.5, "The": 0.1, "A": 0.04}
    given = answer(*OPENING, ("positive", 0.05, others), CLOSING)
    assert confidence(given, "label", LABEL) is None


def test_a_sure_token_needs_no_alternatives() -> None:
    """Nothing is left for the others."""
    assert confidence(
        answer(*OPENING, ("positive", 0.99), CLOSING), "label", LABEL
    ) == (pytest.approx(1.0, abs=0.02))


def test_an_only_value_is_certain() -> None:
    """There was nothing to decide."""
    given = answer(*OPENING, ("positive", 0.001), CLOSING)
    assert confidence(given, "label", schema(label={"const": "positive"})) == 1.0


def test_the_token_after_a_number_decides_as_well() -> None:
    """1 could have become 10."""
    score = schema(score={"enum": [1, 2, 10]})
    given = answer(
        ('{"score":', 0.5),
        ("1", 0.6, {"1": 0.6, "2": 0.2, "~": 0.0001}),
        ("}", 0.4, {"}": 0.4, "0": 0.4, "~": 0.0001}),
    )
    assert confidence(given, "score", score) == pytest.approx(0.75 * 0.5)


def test_truth_values_are_labels() -> None:
    """Nobody has to list them."""
    given = answer(
        ('{"ok": ', 0.5), ("true", 0.3, {"false": 0.1, "~": 0.0001}), ("}", 0.9)
    )
    assert confidence(given, "ok", schema(ok={"type": "boolean"})) == pytest.approx(
        0.75
    )


def test_a_text_has_the_product_of_its_tokens() -> None:
    """Without its quotes and what is around it."""
    given = answer(('{"why": "', 0.1), ("so", 0.5), (" what", 0.5), ('"}', 0.1))
    assert confidence(given, "why", schema(why={"type": "string"})) == pytest.approx(
        0.25
    )


@pytest.mark.parametrize("kind", [{"type": "integer"}, {"type": "array"}, {}])
def test_numbers_and_lists_cannot_be_told(kind: dict[str, Any]) -> None:
    """The schema restricts them in ways that tokens do not show."""
    given = answer(('{"x":', 0.5), ("[", 0.5), ("1", 0.5), ("]", 0.5), ("}", 0.5))
    assert confidence(given, "x", schema(x=kind)) is None


def test_a_field_that_is_not_there() -> None:
    """Nor is an answer that is cut."""
    given = answer(*OPENING, ("positive", 0.9), CLOSING)
    assert confidence(given, "other", LABEL) is None
    assert confidence(answer(*OPENING, ("posi", 0.9)), "label", LABEL) is None


def test_a_value_is_found_where_it_is() -> None:
    """Not in another field that looks like it."""
    two = schema(why={"type": "string"}, label={"enum": ["yes", "no"]})
    given = answer(
        ('{"why": "\\"label\\": ', 0.1),
        ('yes", "inner": {"label": "no"}, ', 0.1),
        ('"label": "', 0.1),
        ("no", 0.3, {"yes": 0.1, "~": 0.0001}),
        ('"}', 0.1),
    )
    assert confidence(given, "label", two) == pytest.approx(0.75)


def test_split_characters_before_the_value() -> None:
    """Their tokens have no text of their own; places are counted from the end."""
    given = answer(
        ('{"why": "', 0.1),
        ("\N{REPLACEMENT CHARACTER}", 0.1),
        ("\N{REPLACEMENT CHARACTER}", 0.1),
        ('", "label": "', 0.1),
        ("positive", 0.3, {"negative": 0.1, "~": 0.0001}),
        ('"}', 0.1),
        ("<|end|>", 0.9),
        text='{"why": "é", "label": "positive"}',
    )
    assert confidence(given, "label", LABEL) == pytest.approx(0.75)


def test_the_field_need_not_be_named() -> None:
    """Where one alone has a few values."""
    given = answer(*OPENING, ("positive", 0.3, {"negative": 0.1, "~": 0.0001}), CLOSING)
    assert confidence(given, None, LABEL) == pytest.approx(0.75)
    assert scored_field(LABEL) == "label"
    assert scored_field(schema(a={"enum": [1, 2]}, b={"type": "boolean"})) is None


def test_free_text_has_the_product_of_all() -> None:
    """There is no field in it."""
    assert confidence(answer(("a", 0.5), ("b", 0.5)), None) == pytest.approx(0.25)
    assert confidence(answer(("a", 0.5)), "label") is None


def test_probabilities_after_sampling_are_understood() -> None:
    """llama.cpp gives them other names, and no logarithms."""
    body = (
        b'{"choices":[{"message":{"content":"a"},"finish_reason":"stop","logprobs":'
        b'{"content":[{"token":"a","prob":0.5,"top_probs":[{"token":"b","prob":0}]}]}}]}'
    )
    logprobs = parse_completion(body).logprobs
    assert logprobs is not None
    assert logprobs[0].logprob == pytest.approx(math.log(0.5))
    assert logprobs[0].alternatives == (("b", -math.inf),)


class Scored(ScriptedEngine):
    """Always the same answer."""

    async def answer(self, prompt: str, *, seed: int | None = None) -> Answer:
        """With alternatives at each token."""
        await super().answer(prompt, seed=seed)
        everywhere = {"~": 0.0001}
        label = {"negative": 0.1, "~": 0.0001}
        tokens = [(*token, everywhere) for token in OPENING]
        return answer(*tokens, ("positive", 0.3, label), (*CLOSING, everywhere))


async def scored(engine: Engine, instructions: Instructions) -> Answer:
    """One answer of an engine that scores."""
    async with scoring(engine, None, alternatives=7) as scorer:
        return await scorer.bind(instructions).answer("x")


async def test_scoring_asks_for_alternatives() -> None:
    """Whatever the sampling parameters say of them; the rest is left alone."""
    engine = Scored()
    sampling = SamplingParams(temperature=0, logprobs=1)
    await scored(engine, Instructions(schema=LABEL, sampling=sampling))
    assert engine.instructions is not None
    assert engine.instructions.sampling == SamplingParams(temperature=0, logprobs=7)


async def test_scoring_keeps_what_confidence_needs() -> None:
    """The alternatives of the field's tokens, and the others' probabilities."""
    given = await scored(Scored(), Instructions(schema=LABEL))
    assert confidence(given, "label", LABEL) == pytest.approx(0.75)
    assert given.logprobs is not None
    assert [len(entry.alternatives) for entry in given.logprobs] == [0, 0, 0, 1, 2, 1]
    assert cumulative_logprob(given) == pytest.approx(
        math.log(0.3 * 0.02 * 0.9 * 0.8 * 0.3 * 0.1)
    )
