"""FastAPI, or the error that says how to get it."""

from __future__ import annotations

__all__ = (
    "APIRouter",
    "FastAPI",
    "JSONResponse",
    "Query",
    "Request",
    "RequestValidationError",
    "Response",
    "StreamingResponse",
)

from market_data_pipeline.errors import MissingDependencyError

try:
    from fastapi import APIRouter, FastAPI, Query, Request, Response
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse, StreamingResponse
except ModuleNotFoundError as err:
    if (err.name or "").partition(".")[0] != "fastapi":
        raise
    raise MissingDependencyError(package="fastapi", extra="server") from err
