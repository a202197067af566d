"""Bespoke Curator's `LLM` over a list of rows, its limits set out of reach."""

from __future__ import annotations

import importlib
import importlib.util
import os
from pathlib import Path
from typing import Any

from systems.child import MODEL, SYSTEM_PROMPT, Work, leave, timed

_OUT_OF_REACH = 1_000_000_000


def run(work: Work, prompts: list[str]) -> int:
    """Rows with an answer."""
    curator: Any = importlib.import_module("bespokelabs.curator")
    model = curator.LLM(
        model_name=MODEL,
        backend="openai",
        system_prompt=SYSTEM_PROMPT,
        backend_params={
            "base_url": work.base_url,
            "api_key": "none",
            "max_requests_per_minute": _OUT_OF_REACH,
            "max_tokens_per_minute": _OUT_OF_REACH,
            "max_concurrent_requests": work.concurrency,
            "require_all_responses": True,
        },
    )
    answers = model(prompts)
    rows = getattr(answers, "dataset", answers)
    return sum(bool(row["response"]) for row in rows)


def main() -> None:
    """Warm up, then run the clock over the whole work."""
    work = Work.given()
    os.environ["CURATOR_CACHE_DIR"] = str(work.file("cache"))
    run(work, work.prompts(work.warm_rows))
    with timed(work) as count:
        count.answered = run(work, work.prompts())
    leave()


def quiet() -> None:
    """Nothing from the network, nothing remembered from an earlier run."""
    os.environ |= {
        "CURATOR_DISABLE_CACHE": "1",
        "CURATOR_VIEWER": "0",
        "CURATOR_DISABLE_RICH_DISPLAY": "1",
        "HF_HUB_OFFLINE": "1",
        "OPENAI_API_KEY": "none",
        "TELEMETRY_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    litellm = importlib.util.find_spec("litellm")
    if litellm is not None and litellm.origin is not None:
        tokenizers = "litellm_core_utils/tokenizers"
        os.environ["TIKTOKEN_CACHE_DIR"] = str(Path(litellm.origin).parent / tokenizers)


if __name__ == "__main__":
    quiet()
    main()
