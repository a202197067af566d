"""Images that are files of this machine, put into requests when these are sent.

A batch of prompts holds their names: with their bytes it would hold gigabytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import orjson
from anyio import to_thread

from sutro_stream.engines.wrapper import ResponderWrapper
from sutro_stream.errors import UnreadableInputError
from sutro_stream.rendering.images import (
    FILE_SCHEME,
    ImageError,
    data_address,
    read_image,
)
from sutro_stream.values.outcomes import Answer

# Of a text that looks like it, JSON escapes the quotes; and `rendering.images` takes
# no address of a row that begins so.
_FILE = re.compile(rf'"url":("{FILE_SCHEME}(?:[^"\\]|\\.)*")')
_IMAGE = '{"type":"image_url"'


@dataclass(frozen=True, slots=True)
class ImagesResponder(ResponderWrapper):
    """`Responder` that reads the files of a prompt's images first."""

    async def answer(self, prompt: str, *, seed: int | None = None) -> Answer:
        if _FILE.search(prompt) is not None:
            prompt = await to_thread.run_sync(_filled, prompt)
        return await self.responder.answer(prompt, seed=seed)


def image_count(prompt: str) -> int:
    """How many images a message's content shows."""
    return prompt.count(_IMAGE)


def text_length(prompt: str) -> int:
    """Characters of a message's content without its images, about."""
    start = prompt.find(_IMAGE)
    return len(prompt) if start < 0 else start


def _filled(prompt: str) -> str:
    try:
        return _FILE.sub(_address, prompt)
    except ImageError as error:
        raise UnreadableInputError(f"an image {error}") from None


def _address(found: re.Match[str]) -> str:
    path = orjson.loads(found[1]).removeprefix(FILE_SCHEME)
    return f'"url":"{data_address(read_image(path))}"'
