"""The stage that renders a Function where rows may be prompts already."""

from __future__ import annotations

from dataclasses import dataclass

from sutro_stream.errors import ConfigurationError
from sutro_stream.flow.stage import Columns, RunContext
from sutro_stream.rendering.function import Render, function_step
from sutro_stream.rendering.prompting import PromptStep
from sutro_stream.values.function import Function
from sutro_stream.values.layout import Shape
from sutro_stream.values.prompts import Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderMixed:
    """As `Render`, but a row with a value in `rendered_column` has that as its prompt.

    Such a row is never refused, whatever it lacks of the declared inputs.

    Attributes:
        function: Declares inputs, template and instructions.
        rendered_column: Null in rows that are to be rendered; "" is a prompt.
    """

    function: Function
    rendered_column: str

    def __post_init__(self) -> None:
        """Refuse a column that means two things.

        Raises:
            ConfigurationError: The Function declares an input of that name.
        """
        if self.rendered_column in {field.name for field in self.function.inputs}:
            raise ConfigurationError(
                f"Function {self.function.name!r}: the name {self.rendered_column!r} "
                "is reserved; rename the input"
            )

    @property
    def yields(self) -> type[Prompt]:
        """See `Stage`."""
        return Prompt

    def columns_needed(self, wanted: Columns) -> Columns:
        """See `Stage`."""
        needed = Render(function=self.function).columns_needed(wanted)
        return None if needed is None else needed | {self.rendered_column}

    def bind(self, shape: Shape, context: RunContext) -> PromptStep:
        """See `Stage`."""
        del context
        return function_step(self.function, shape, rendered=self.rendered_column)
