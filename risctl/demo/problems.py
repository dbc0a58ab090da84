"""Answers of the server that are errors, as RFC 9457 (Problem Details for HTTP APIs) writes them."""

from __future__ import annotations

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from risctl.errors import DataError, MachineError, UsageError

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 2
"""What `Retry-After` says where the server has too much to do."""

_logger = logging.getLogger("risctl.demo")


class ProblemError(Exception):
    """What is wrong with a request, or with the server.

    Attributes:
        status: The HTTP status.
        kind: A name that programs may compare; `type` is a URN with it.
        detail: One line for a person.
        headers: Further headers of the answer.
    """

    def __init__(self, status: int, kind: str, detail: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail = status, kind, detail
        self.headers = headers or {}

    def response(self) -> JSONResponse:
        """Returns the answer."""
        content = {
            "type": f"urn:risctl:problem:{self.kind}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        return JSONResponse(content, status_code=self.status, media_type=MEDIA_TYPE, headers=self.headers)


def too_busy(status: int, kind: str, detail: str) -> ProblemError:
    """Returns the problem of a server that has too much to do, with `Retry-After`."""
    return ProblemError(status, kind, detail, headers={"Retry-After": str(RETRY_SECONDS)})


def as_problem(error: Exception) -> ProblemError:
    """Returns the problem that an error of risctl is."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, DataError):
        return ProblemError(422, "unreadable", str(error))
    if isinstance(error, UsageError):
        return ProblemError(422, "unusable", str(error))
    if isinstance(error, MachineError):
        return ProblemError(501, "not-here", str(error))
    return too_busy(503, "no-memory", "not enough memory; send a smaller image, or try again")


def install(app: FastAPI) -> None:
    """Makes `app` answer every error as a problem; what nobody expected is logged, and not shown."""

    async def known(request: Request, error: Exception) -> JSONResponse:
        return as_problem(error).response()

    async def plain(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        kind = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "unusable")
        headers = dict(error.headers or {})
        return ProblemError(error.status_code, kind, str(error.detail), headers=headers).response()

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        where = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:3])
        return ProblemError(422, "unusable", where).response()

    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        return ProblemError(500, "unexpected", "the server made a mistake; its log says more").response()

    for kind in (ProblemError, DataError, UsageError, MachineError, MemoryError):
        app.add_exception_handler(kind, known)
    app.add_exception_handler(HTTPException, plain)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, unexpected)
