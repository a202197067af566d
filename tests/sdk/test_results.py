"""Results: every flag, joined, cached, unpacked, downloaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(180)

Value = Callable[[str], Any]
Said = Callable[[str], str]
ROWS = ["alpha beta", "gamma", "delta epsilon zeta"]
ANSWERS = [f"echo: {row}" for row in ROWS]


def test_columns_come_as_they_are_asked_for(value: Value) -> None:
    """And no others."""
    columns = {flags: list(results) for flags, results in value("flags").items()}
    assert columns == {
        "00": ["inference_result"],
        "01": ["inference_result", "cumulative_logprobs"],
        "10": ["inputs", "inference_result"],
        "11": ["inputs", "inference_result", "cumulative_logprobs"],
    }


def test_rows_are_in_order_in_every_column(value: Value) -> None:
    """The log-probability is the sum over the tokens of an answer."""
    results = value("flags")["11"]
    assert results["inputs"] == ROWS
    assert results["inference_result"] == ANSWERS
    assert results["cumulative_logprobs"] == pytest.approx([-0.75, -0.375, -1.25])


def test_log_probabilities_are_never_invented(value: Value) -> None:
    """A model that gives none has none."""
    results = value("logprobs_of_a_model_without")
    assert results["inference_result"] == ANSWERS
    assert results.get("cumulative_logprobs", [None] * 3) == [None] * 3


def test_results_join_their_frames(value: Value) -> None:
    """Of both libraries, indexes kept."""
    joined = {"text": ROWS, "out": ANSWERS}
    assert value("joined_to_frames") == {
        "polars": joined,
        "pandas": joined,
        "index": ["i", "j", "k"],
    }


def test_the_sdk_keeps_results(value: Value, said: Said) -> None:
    """Which it could not do with IDs that come twice."""
    assert value("the_cache") == {"same": True, "new_files": 1}
    assert "Results loaded from cache" in said("the_cache")


def test_structured_answers_are_texts(value: Value) -> None:
    """That the SDK can take apart."""
    assert value("structured") == {
        "unpacked": {"label": ["good"] * 3},
        "raw": {"inference_result": ['{"label":"good"}'] * 3},
    }


def test_reasoning_comes_beside_the_answer(value: Value) -> None:
    """As text, or as the fields of its schema."""
    results = value("reasoning")
    thoughts = ["Let me think."] * 3
    assert results["free"] == {"content": ANSWERS, "reasoning_content": thoughts}
    assert results["bound"] == {
        "content": [{"label": "good"}] * 3,
        "reasoning_content": thoughts,
    }
    assert results["unwrapped"] == {
        "label": ["good"] * 3,
        "reasoning_content": thoughts,
    }


def test_links_say_what_they_lead_to(value: Value) -> None:
    """A plain file name, its size, and for how long."""
    links = value("download_links")
    payload = links["payload"]
    job_id = payload["job_id"]
    assert payload["artifact"]["filename"] == (
        f"sutro-results~{job_id}~inputs=1~logprobs=0.parquet"
    )
    assert payload["artifact"]["size_bytes"] == links["size"] == links["length"]
    described = {
        key: payload[key] for key in payload if key.startswith(("i", "e", "f"))
    }
    assert described == {
        "format": "parquet",
        "include_inputs": True,
        "include_cumulative_logprobs": False,
        "expires_in_seconds": 60,
    }


def test_links_need_no_key(value: Value) -> None:
    """They are whole, uncompressed files with one strong tag."""
    links = value("download_links")
    assert (links["whole"], links["encoded"]) == (200, None)
    assert len(set(links["etags"])) == 1
    assert links["etags"][0].startswith('"')


def test_links_give_parts(value: Value) -> None:
    """And refuse what is beyond the end."""
    links = value("download_links")
    size = links["size"]
    assert links["part"] == [206, True, f"bytes 4-9/{size}"]
    assert links["beyond"] == [416, f"bytes */{size}"]


def test_a_link_that_was_changed_opens_nothing(value: Value) -> None:
    """And the refusal is JSON."""
    assert value("download_links")["wrong"] == [403, ["code", "detail", "request_id"]]


def test_downloads_are_parquet_files(value: Value) -> None:
    """With the columns that JSON has."""
    downloads = value("downloads")
    assert downloads["into"] == {"outputs": ANSWERS}
    assert downloads["to"] == {"inputs": ROWS, "outputs": ANSWERS}
    name = f"sutro-results~{downloads['job_id']}~inputs=0~logprobs=0.parquet"
    assert downloads["name"] == name
    assert downloads["left"] == sorted([name, "mine.parquet"])


def test_a_download_goes_on_where_it_stopped(value: Value) -> None:
    """What is there is not fetched again."""
    assert value("a_resumed_download") == {"resumed": True}


def test_a_download_of_something_else_starts_anew(value: Value) -> None:
    """Told apart by the tag."""
    assert value("a_resumed_download_of_another_file") == {"whole": True}


def test_a_job_that_runs_has_no_results(value: Value, said: Said) -> None:
    """In any form."""
    answers = value("before_the_end")
    assert answers == {"results": None, "links": None, "download": None}
    assert said("before_the_end").count("Bad status code: 409") == 3


def test_nobodys_job_is_not_found(value: Value, said: Said) -> None:
    """By any call."""
    assert set(value("of_nobodys_job").values()) == {None}
    assert said("of_nobodys_job").count("Bad status code: 404") == 4
    assert "Failed to cancel job" in said("of_nobodys_job")
