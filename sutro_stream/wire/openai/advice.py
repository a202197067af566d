"""What to do about a request that an endpoint refuses: the options that cure it."""

from __future__ import annotations

import re

_REFUSED = re.compile(
    r"unsupported|unrecogni[sz]ed|unknown|unexpected|extra (?:input|field)|deprecated"
    r"|(?:not|n't|no longer) (?:\w+ )?(?:support|allow|permit|accept|recogni|availab"
    r"|implement|enabled|valid)|only the default|use '?max_completion_tokens",
    re.IGNORECASE,
)
# By what the endpoint names, the first that fits.
_CURES = (
    (
        r"\bmax_tokens\b",
        (
            "give --sampling max_completion_tokens=N instead of --max-tokens, or "
            "max_completion_tokens instead of max_tokens"
        ),
    ),
    (
        r"response[ _]?format|json[ _]?schema|structured output",
        "leave out --schema (schema), and ask for JSON in the prompt",
    ),
    (r"\btemperature\b", "leave out --temperature (temperature)"),
    (
        r"\b(top_p|seed|stop|logprobs|presence_penalty|frequency_penalty)\b",
        r"leave out --sampling \1= (\1)",
    ),
    (
        "parameter|argument|field|extra inputs|property|keyword",
        (
            'leave it out; --dialect openai (dialect="openai") refuses parameters '
            "that not all endpoints know, by name and before anything is sent"
        ),
    ),
)


def advice(text: str, *, param: object) -> str:
    """What cures a refusal, to stand behind the endpoint's words; may be empty.

    Args:
        text: All that the endpoint says.
        param: The parameter that it names, if it does so apart.
    """
    if _REFUSED.search(text) is None:
        return ""
    subject = f"{param} {text}" if isinstance(param, str) else text
    for pattern, cure in _CURES:
        match = re.search(pattern, subject, re.IGNORECASE)
        if match is not None:
            return f"; {match.expand(cure)}"
    return ""
