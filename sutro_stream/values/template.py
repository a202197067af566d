"""Prompt templates: literal text and `{{ field }}` places, nothing else.

Filled in a single pass, so that a value holding `{{ … }}` stays literal text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sutro_stream.errors import ConfigurationError

# No place holds the start of another: else one that is not closed would be looked for
# to the end of the text, from each start anew.
_PLACE = re.compile(r"\{\{((?:(?!\{\{).)*?)\}\}", re.DOTALL)
_NAME = re.compile(r"[^{}]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A parsed template: literals and fields in turn.

    Attributes:
        literals: Texts around the places; one more than `fields`.
        fields: Name at each place, in order; a name may come again.
    """

    literals: tuple[str, ...]
    fields: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Template:
        """Split `text` at its places.

        Raises:
            ConfigurationError: A place is empty, holds braces, or is not closed.
        """
        literals: list[str] = []
        names: list[str] = []
        end = 0
        for match in _PLACE.finditer(text):
            name = match.group(1).strip()
            if not _NAME.fullmatch(name):
                raise ConfigurationError(
                    f"prompt_template: {{{{ {name[:40]} }}}} is not a field name; "
                    "a place is {{ field }}, and text cannot hold '{{'"
                )
            literals.append(text[end : match.start()])
            names.append(name)
            end = match.end()
        literals.append(text[end:])
        if any("{{" in literal for literal in literals):
            raise ConfigurationError(
                "prompt_template: '{{' without its '}}'; a place is {{ field }}"
            )
        return cls(literals=tuple(literals), fields=tuple(names))

    def fill(self, values: Mapping[str, str]) -> str:
        """The text with every place filled.

        Raises:
            KeyError: A field has no value.
        """
        parts = [self.literals[0]]
        for name, literal in zip(self.fields, self.literals[1:], strict=True):
            parts += (values[name], literal)
        return "".join(parts)
