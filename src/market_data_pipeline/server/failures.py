"""From our errors to answers."""

from __future__ import annotations

__all__ = ("add_failures",)

from typing import Any

from market_data_pipeline.errors import (
    ConfigError,
    DuplicateJobError,
    JobError,
    MissingInputError,
    PipelineError,
    SpecError,
    TooManyJobsError,
    UnknownJobError,
)
from market_data_pipeline.redaction import redacted
from market_data_pipeline.server.answers import HttpError
from market_data_pipeline.server.web import FastAPI, JSONResponse, Request, RequestValidationError

_TEXT_MAX = 4_000


def add_failures(app: FastAPI) -> None:
    """Make an application answer our errors by what they mean."""

    async def told(_: Request, err: Exception) -> JSONResponse:
        if isinstance(err, HttpError):
            return JSONResponse({"detail": err.detail}, err.status)
        content: dict[str, Any] = {"detail": redacted(str(err))[:_TEXT_MAX]}
        if isinstance(err, SpecError):
            content["problems"] = [
                {"line": p.line, "column": p.column, "message": redacted(p.message)}
                for p in err.problems
            ]
        return JSONResponse(content, _status_of(err))

    async def invalid(_: Request, err: Exception) -> JSONResponse:
        # What was given is left out: it may be a secret at the wrong place.
        errors = err.errors() if isinstance(err, RequestValidationError) else []
        detail = [{"loc": list(e["loc"]), "msg": e["msg"], "type": e["type"]} for e in errors]
        return JSONResponse({"detail": detail}, 422)

    app.add_exception_handler(HttpError, told)
    app.add_exception_handler(PipelineError, told)
    app.add_exception_handler(RequestValidationError, invalid)


def _status_of(err: Exception) -> int:
    if isinstance(err, UnknownJobError):
        return 404
    if isinstance(err, DuplicateJobError):
        return 409
    if isinstance(err, TooManyJobsError):
        return 503
    if isinstance(err, JobError):
        return 503
    if isinstance(err, ConfigError | MissingInputError):
        return 400
    return 400
