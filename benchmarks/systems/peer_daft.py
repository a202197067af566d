"""Daft's `prompt`, Parquet to Parquet. It takes no number of requests in flight."""

from __future__ import annotations

import importlib
import os
from typing import Any

from systems.child import MODEL, SYSTEM_PROMPT, Work, leave, timed


def run(work: Work, rows: int, name: str) -> int:
    """Rows with an answer."""
    daft: Any = importlib.import_module("daft")
    ai: Any = importlib.import_module("daft.functions.ai")
    openai: Any = importlib.import_module("daft.ai.openai.provider")
    provider = openai.OpenAIProvider(
        base_url=work.base_url, api_key="none", timeout=600.0
    )
    answer = ai.prompt(
        daft.col("review"),
        system_message=SYSTEM_PROMPT,
        provider=provider,
        model=MODEL,
        use_chat_completions=True,
    )
    out = str(work.file(name))
    frame = daft.read_parquet(work.table).limit(rows)
    frame.with_column("answer", answer).write_parquet(out)
    pq: Any = importlib.import_module("pyarrow.parquet")
    column = pq.read_table(out, columns=["answer"])["answer"]
    return len(column) - int(column.null_count)


def main() -> None:
    """Run the clock over the whole work."""
    work = Work.given()
    importlib.import_module("daft.functions.ai")
    with timed(work) as count:
        count.answered = run(work, work.rows, "out")
    leave()


if __name__ == "__main__":
    os.environ |= {"DAFT_ANALYTICS_ENABLED": "0", "DO_NOT_TRACK": "1"}
    main()
