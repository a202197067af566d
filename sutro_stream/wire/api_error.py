"""Errors as Sutro's API tells them: a status, a code and a sentence."""

from __future__ import annotations

from collections.abc import Mapping

from sutro_stream.errors import SutroStreamError


class ApiError(SutroStreamError):
    """What a request is refused with.

    The text is sent to the caller: it names field, row or job and never holds a
    secret, a row's content or anything of another account.

    Attributes:
        status: HTTP status, 400 to 599.
        code: Stable word for programs, in snake case.
        headers: Further headers of the response.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})

    @property
    def detail(self) -> str:
        """The sentence."""
        return str(self)


def invalid(detail: str, *, code: str = "invalid_request") -> ApiError:
    """A request that says something impossible; `detail` names the field."""
    return ApiError(422, code, detail)


def not_found(what: str, *, code: str) -> ApiError:
    """Something that does not exist, or not for this account."""
    return ApiError(404, code, f"{what} was not found")
