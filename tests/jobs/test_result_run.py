"""A run of the pipeline whose file is a job's results."""

from __future__ import annotations

import json
from pathlib import Path

import sutro_stream as ss
from sutro_stream.jobs.artifacts import Workshop
from sutro_stream.jobs.folder import JobFolder
from sutro_stream.jobs.result_form import JobResults, ResultColumns
from sutro_stream.jobs.result_table import Selection
from sutro_stream.jobs.results_file import JobResultsFile
from sutro_stream.pipeline.file_pipeline import FilePipeline
from sutro_stream.sinks.files import FileSink
from sutro_stream.testing.scripted_engine import ScriptedEngine, ScriptedReply

SCHEMA = {
    "type": "object",
    "properties": {"label": {"type": "string"}},
    "required": ["label"],
}


def script(prompt: str, _: int) -> ScriptedReply:
    """A label for every prompt but one."""
    text = "I do not know" if prompt == "row 7" else json.dumps({"label": prompt})
    return ScriptedReply(text=text)


async def test_a_run_makes_the_results_of_a_job(tmp_path: Path) -> None:
    """In input order, with the ID column, and null for what does not conform."""
    folder = JobFolder(tmp_path)
    rows = [{"key": f"k{at}", "text": f"row {at}"} for at in range(20)]
    async with ScriptedEngine(script=script) as engine:
        pipeline = (
            ss.from_rows(rows)
            | ss.prompts(column="text", json_schema=SCHEMA)
            | ss.infer(engine)
        )
        filing = FilePipeline(
            pipeline.prepare,
            FileSink(folder.results, format="parquet"),
            lambda shape: JobResults(shape, ResultColumns(id_column="key")),
        )
        report = await filing.run()
    assert report.rows_failed == 1
    results = JobResultsFile(folder, job_id="job-1", workshop=Workshop())
    parts = results.enveloped_json(Selection(inputs=True))
    assert json.loads(b"".join(parts)) == {
        "results": {
            "inputs": [row["text"] for row in rows],
            "key": [row["key"] for row in rows],
            "outputs": [
                None if at == 7 else json.dumps({"label": f"row {at}"})
                for at in range(20)
            ],
        },
        "message": "Results retrieved successfully",
    }
