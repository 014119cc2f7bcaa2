"""How much a request may take: bytes of its body, and seconds of waiting for the client."""

from __future__ import annotations

__all__ = ("Limits",)

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from market_data_pipeline.server.answers import HttpError
from market_data_pipeline.server.settings import ServerSettings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Limits:
    """Reads the body of a request, whole and within bounds, before the routes see it."""

    def __init__(
        self,
        app: Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]],
        settings: ServerSettings,
    ) -> None:
        self._app = app
        self._bytes = settings.body_bytes
        self._body_timeout = settings.body_timeout_s

    async def __call__(
        self, scope: MutableMapping[str, Any], receive: Receive, send: Send
    ) -> None:
        """Handle one request.

        Raises:
            HttpError: If the body is too large or too slow.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._check_announced(scope)
        body: bytes | None = await self._read(receive)

        async def replayed() -> Message:
            nonlocal body
            if body is None:
                return await receive()
            given, body = body, None
            return {"type": "http.request", "body": given, "more_body": False}

        await self._app(scope, replayed, send)

    def _check_announced(self, scope: MutableMapping[str, Any]) -> None:
        for name, value in scope["headers"]:
            # Up to 18 digits, so that nobody makes us parse a million of them.
            if name == b"content-length" and (len(value) > 18 or int(value) > self._bytes):
                raise self._too_large()

    async def _read(self, receive: Receive) -> bytes:
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._body_timeout):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise HttpError(400, "the client left")
                    chunks.append(message.get("body", b""))
                    size += len(chunks[-1])
                    if size > self._bytes:
                        raise self._too_large()
                    if not message.get("more_body", False):
                        return b"".join(chunks)
        except TimeoutError:
            msg = f"the body took longer than {self._body_timeout:g} s"
            raise HttpError(408, msg) from None

    def _too_large(self) -> HttpError:
        return HttpError(413, f"a body has at most {self._bytes} bytes")
