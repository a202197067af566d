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
        (
            "give --response-format json_object or none (response_format); answers "
            "are checked against the schema here in any case"
        ),
    ),
    (r"\btemperature\b", "leave out --temperature (temperature)"),
    (
        r"\b(top_p|seed|stop|logprobs|presence_penalty|frequency_penalty)\b",
        (
            r"leave out --sampling \1= (\1), or say with --dialect (dialect) whose "
            "parameters the endpoint knows"
        ),
    ),
    (
        "parameter|argument|field|extra inputs|property|keyword",
        (
            "leave it out, or say with --dialect (dialect) whose parameters the "
            "endpoint knows; --extra-body (extra_body) sends any other field as it is"
        ),
    ),
    (r"\bheader", "leave it out of --header (headers)"),
)
_MISSING = re.compile(
    r"missing|required|must (?:be set|include|provide)", re.IGNORECASE
)
_GIVEN_WITH = (
    (r"api[-_]version", "write it into the address, as in .../NAME?api-version=DATE"),
    (r"\bheader", "give it with --header NAME=VALUE or --header-env (headers)"),
    (r"max_(?:completion_)?tokens", "give it with --max-tokens or --sampling"),
    (
        r"\b(?:query|url) param",
        "write it into the address, as in https://HOST/v1?NAME=VALUE",
    ),
    (
        r"\b(?:field|parameter|property|argument)\b",
        "give it with --sampling NAME=VALUE, or --extra-body (extra_body)",
    ),
)


def advice(text: str, *, param: object) -> str:
    """What cures a refusal, to stand behind the endpoint's words; may be empty.

    Args:
        text: All that the endpoint says.
        param: The parameter that it names, if it does so apart.
    """
    subject = f"{param} {text}" if isinstance(param, str) else text
    for condition, cures in ((_REFUSED, _CURES), (_MISSING, _GIVEN_WITH)):
        if condition.search(text) is None:
            continue
        for pattern, cure in cures:
            match = re.search(pattern, subject, re.IGNORECASE)
            if match is not None:
                return f"; {match.expand(cure)}"
    return ""
