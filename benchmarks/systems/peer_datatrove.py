"""datatrove: Parquet reader, inference runner, JSON lines writer, in one task."""

from __future__ import annotations

import importlib
import json
from typing import Any

from systems.child import MODEL, Work, leave, messages, timed

_ANSWERS = "answers"


async def rollout(document: Any, generate: Any) -> str:
    """A row's answer."""
    result = await generate({"messages": messages(document.text)})
    return str(result.text)


def run(work: Work, rows: int, name: str) -> int:
    """Rows with an answer."""
    executor: Any = importlib.import_module("datatrove.executor")
    inference: Any = importlib.import_module(
        "datatrove.pipeline.inference.run_inference"
    )
    readers: Any = importlib.import_module("datatrove.pipeline.readers")
    writers: Any = importlib.import_module("datatrove.pipeline.writers")
    out = work.file(name)
    config = inference.InferenceConfig(
        server_type="endpoint",
        model_name_or_path=MODEL,
        endpoint_url=work.base_url.removesuffix("/v1"),
        max_concurrent_generations=work.concurrency,
    )
    table = work.table
    executor.LocalPipelineExecutor(
        pipeline=[
            readers.ParquetReader(
                table.rpartition("/")[0],
                glob_pattern=table.rpartition("/")[2],
                text_key="review",
                id_key="id",
                limit=rows,
            ),
            inference.InferenceRunner(
                rollout_fn=rollout,
                config=config,
                output_writer=writers.JsonlWriter(
                    str(out), output_filename="${rank}.jsonl", compression=None
                ),
                metadata_key=_ANSWERS,
            ),
        ],
        logging_dir=str(work.file(f"{name}.logs")),
        tasks=1,
        workers=1,
    ).run()
    with (out / "00000.jsonl").open() as lines:
        return sum(bool(json.loads(line)["metadata"][_ANSWERS]) for line in lines)


def main() -> None:
    """Warm up, then run the clock over the whole work."""
    work = Work.given()
    run(work, work.warm_rows, "warm")
    with timed(work) as count:
        count.answered = run(work, work.rows, "out")
    leave()


if __name__ == "__main__":
    main()
