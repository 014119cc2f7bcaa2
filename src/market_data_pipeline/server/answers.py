"""Short answers given before a request comes to any route."""

from __future__ import annotations

__all__ = ("HttpError", "refuse")

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class HttpError(Exception):
    """Raised to answer a request with a status and a reason.

    Attributes:
        status: The HTTP status.
        detail: The reason, for the client to read.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail


async def refuse(send: Send, err: HttpError) -> None:
    """Answer with a refusal, and close the connection: what follows on it is not wanted."""
    body = json.dumps({"detail": err.detail}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    if err.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="mdp"'))
    await send({"type": "http.response.start", "status": err.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
