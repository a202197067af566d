"""What is read from the environment."""

from __future__ import annotations

import pytest

from sutro_stream.errors import ConfigurationError
from sutro_stream.settings import API_KEY_VARIABLE, Settings


def test_the_key_is_read_from_our_variable() -> None:
    """The usual variable needs no naming."""
    assert Settings.load({API_KEY_VARIABLE: "k"}).api_key() == "k"


def test_no_key_is_no_error() -> None:
    """Many endpoints need none; an empty variable counts as none."""
    assert Settings.load({API_KEY_VARIABLE: ""}).api_key() is None


def test_keys_of_other_products_are_not_used() -> None:
    """A key never travels to a host that it was not meant for."""
    assert Settings.load({"OPENAI_API_KEY": "k"}).api_key() is None


def test_a_named_variable_wins() -> None:
    """Any variable can hold the key if it is named."""
    settings = Settings.load({API_KEY_VARIABLE: "ours", "OTHER": "theirs"})
    assert settings.api_key("OTHER") == "theirs"


def test_a_named_variable_must_be_set() -> None:
    """The error does not repeat the name, which may be the key itself."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.load({}).api_key("sk-typed-in-the-wrong-place")
    assert "sk-typed" not in str(caught.value)


def test_the_environment_is_not_shown() -> None:
    """A settings object can be printed without giving a key away."""
    assert "secret" not in repr(Settings.load({API_KEY_VARIABLE: "secret"}))
