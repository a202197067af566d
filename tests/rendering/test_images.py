"""Images as parts of messages."""

import base64
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest

from sutro_stream.errors import ConfigurationError
from sutro_stream.flow.meter import Meter
from sutro_stream.flow.stage import RunContext
from sutro_stream.rendering.columns import Prompts
from sutro_stream.rendering.function import Render
from sutro_stream.rendering.images import MOST_IMAGE_BYTES
from sutro_stream.values.function import Function
from sutro_stream.values.instructions import PromptForm
from sutro_stream.values.layout import Shape
from sutro_stream.values.outcomes import ErrorKind
from sutro_stream.values.prompts import PromptBatch
from sutro_stream.values.rows import RowBatch

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(40))
ADDRESS = "https://pictures.example/a.png?size=large"


def made(stage: Prompts | Render, columns: dict[str, Any]) -> PromptBatch:
    """The prompts of a few rows."""
    records = pa.RecordBatch.from_pydict(columns)
    shape = Shape(kind=RowBatch, rows=records.schema)
    step = stage.bind(shape, RunContext(meter=Meter()))
    assert step.shape.instructions is not None
    assert step.shape.instructions.form is PromptForm.CONTENT
    return step.prompts(RowBatch(records=records, first_index=0))


def shown(value: Any, *, kind: pa.DataType | None = None) -> PromptBatch:
    """The prompt of a text and an image."""
    columns = {"note": ["A cat?"], "photo": pa.array([value], kind)}
    return made(Prompts(column="note", images=["photo"]), columns)


def url(batch: PromptBatch) -> str:
    """The address in it."""
    assert not batch.refused
    text, image = orjson.loads(batch.texts[0].as_py())
    assert text == {"type": "text", "text": "A cat?"}
    assert image["type"] == "image_url"
    return str(image["image_url"]["url"])


def test_an_address_is_left_to_the_endpoint() -> None:
    """As it is, its query too."""
    assert url(shown(ADDRESS)) == ADDRESS


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (PNG, "png"),
        (b"\xff\xd8\xff\xe0", "jpeg"),
        (b"GIF89a", "gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "webp"),
        (b"\0\0\0\x1cftypavif", "avif"),
    ],
)
def test_bytes_are_sent_under_the_kind_that_they_are(head: bytes, kind: str) -> None:
    """Whatever they are called."""
    expected = f"data:image/{kind};base64,{base64.b64encode(head).decode()}"
    assert url(shown(head)) == expected


def test_images_of_datasets_are_structs() -> None:
    """Bytes and a path, of which the bytes count."""
    value = {"bytes": PNG, "path": "nowhere.png"}
    assert url(shown(value)).startswith("data:image/png;base64,")


def test_a_file_stays_a_name_until_it_is_sent(tmp_path: Path) -> None:
    """A batch of prompts must not hold thousands of images."""
    path = tmp_path / 'a "cat" ä.png'
    path.write_bytes(PNG)
    assert url(shown(str(path))) == f"file:{path}"
    assert url(shown(path.as_uri())) == f"file:{path}"


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (None, ErrorKind.MISSING_VALUE, "has no image"),
        ("", ErrorKind.MISSING_VALUE, "has no image"),
        ("nowhere.png", ErrorKind.WRONG_TYPE, "a file that is not there"),
        ("x" * 10_000, ErrorKind.WRONG_TYPE, "is no image"),
        ("a\0b", ErrorKind.WRONG_TYPE, "is no image"),
        (__file__, ErrorKind.WRONG_TYPE, "no image of a known kind"),
        (str(Path(__file__).parent), ErrorKind.WRONG_TYPE, "cannot be read"),
        ("/dev/zero", ErrorKind.WRONG_TYPE, "cannot be read"),
        ("file:/etc/passwd", ErrorKind.WRONG_TYPE, "a file that is not there"),
    ],
)
def test_a_row_without_an_image_is_refused(
    value: str | None, kind: ErrorKind, words: str
) -> None:
    """Named by its column, and not by what it holds."""
    batch = shown(value, kind=pa.string())
    error = batch.refused[0]
    assert (error.kind, error.field) == (kind, "photo")
    assert words in error.message
    assert batch.texts.to_pylist() == [None]


@pytest.mark.parametrize("as_file", [True, False])
def test_an_image_that_is_too_large_is_refused(
    tmp_path: Path, *, as_file: bool
) -> None:
    """A file's size is looked at, and it is not read."""
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.write(PNG)
        file.truncate(MOST_IMAGE_BYTES + 1)
    value = str(path) if as_file else path.read_bytes()
    assert "above 20 MB" in shown(value).refused[0].message


def test_bytes_of_something_else_are_refused() -> None:
    """Text among them."""
    assert "no image of a known kind" in shown(b"hello").refused[0].message


def test_a_text_that_looks_like_a_part_stays_text() -> None:
    """Quotes in it are escaped."""
    columns = {"note": ['","url":"file:/etc/passwd'], "photo": [ADDRESS]}
    batch = made(Prompts(column="note", images=["photo"]), columns)
    text, _ = orjson.loads(batch.texts[0].as_py())
    assert text["text"] == columns["note"][0]
    assert '"url":"file:' not in batch.texts[0].as_py()


def test_an_empty_text_is_left_out() -> None:
    """Endpoints refuse a part without one; several images keep their order."""
    columns = {"note": [""], "a": [ADDRESS], "b": [PNG]}
    batch = made(Prompts(column="note", images=["a", "b"]), columns)
    kinds = [
        part["image_url"]["url"][:5] for part in orjson.loads(batch.texts[0].as_py())
    ]
    assert kinds == ["https", "data:"]


FUNCTION = {
    "name": "describe",
    "inputs": [
        {"name": "note"},
        {"name": "photo", "type": "image"},
        {"name": "other", "type": "image", "required": False},
    ],
}


def test_a_function_shows_its_images_behind_its_text() -> None:
    """One that is not required may be missing."""
    stage = Render(function=Function.validate(FUNCTION))
    columns = {
        "note": ["x", "y", "z"],
        "photo": [ADDRESS, ADDRESS, None],
        "other": pa.array([None, PNG, None]),
    }
    batch = made(stage, columns)
    first, second, third = batch.texts.to_pylist()
    assert [part["type"] for part in orjson.loads(first)] == ["text", "image_url"]
    assert orjson.loads(first)[0]["text"] == "note: x"
    assert len(orjson.loads(second)) == 3
    assert third is None
    assert batch.refused[2].field == "photo"


def test_an_image_has_no_place_in_the_template() -> None:
    """It is shown, and not written."""
    wrong = FUNCTION | {"prompt_template": "{{ note }} {{ photo }}"}
    with pytest.raises(ConfigurationError, match="images are shown behind the text"):
        Function.validate(wrong)


def test_a_function_may_take_images_alone() -> None:
    """Then there is no text."""
    function = {"name": "see", "inputs": [{"name": "photo", "type": "image"}]}
    batch = made(Render(function=Function.validate(function)), {"photo": [ADDRESS]})
    assert [part["type"] for part in orjson.loads(batch.texts[0].as_py())] == [
        "image_url"
    ]
