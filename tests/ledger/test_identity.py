"""Whether two pieces of work are the same, and prompts told apart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sutro_stream.ledger.identity import WorkIdentity
from sutro_stream.values.fingerprint import prompt_digest


def identity(**parts: str) -> WorkIdentity:
    """Work of these parts."""
    return WorkIdentity(parts=parts)


def test_the_same_work_has_no_differences() -> None:
    """The order in which parts are given does not matter."""
    assert identity(a="1", b="2").differences(identity(b="2", a="1")) == ()


def test_differences_name_parts_on_either_side() -> None:
    """A part that changed, one that went and one that came are all named."""
    old, new = (
        identity(same="1", changed="1", gone="1"),
        identity(same="1", changed="2", came="1"),
    )
    assert old.differences(new) == ("changed", "gone", "came")


@given(st.text())
def test_a_digest_is_a_number_that_databases_take(text: str) -> None:
    """It depends on the text alone and fits 63 bits."""
    assert 0 <= prompt_digest(text) < 2**63
    assert prompt_digest(text) == prompt_digest(str(text))


def test_texts_that_look_alike_have_different_digests() -> None:
    """Nothing is normalized or cut."""
    texts = ["", " ", "\0", "a", "A", "a\0", "á", "a\u0301", "a" * 1000, "a" * 1001]
    assert len({prompt_digest(text) for text in texts}) == len(texts)
