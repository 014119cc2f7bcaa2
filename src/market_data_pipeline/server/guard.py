"""Who is let in: addresses, `Host`, `Origin` and the token, before any route is looked at."""

from __future__ import annotations

__all__ = ("COOKIE", "Guard", "page_cookie")

import hashlib
import hmac
import ipaddress
import logging
import re
import traceback
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final

from market_data_pipeline.redaction import redacted
from market_data_pipeline.server.answers import HttpError, refuse
from market_data_pipeline.server.settings import ServerSettings, is_loopback

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE: Final = "mdp_page"
"""Cookie of a browser that has shown the token once; the page cannot set headers on events."""

_OPEN: Final = frozenset({"/", "/health", "/healthz", "/readyz", "/session", "/favicon.ico"})
_OPEN_BELOW: Final = "/page/"
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::([0-9]{1,5}))?")
_PATH_MAX: Final = 2_048
_HEADERS: Final = (
    (
        b"content-security-policy",
        (
            b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
            b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)

_log = logging.getLogger("market_data_pipeline.server")


class Guard:
    """Lets requests through to an application, or answers them itself.

    It is also where an error nobody foresaw ends: the client learns that there was one,
    the log what it was, without secrets.
    """

    def __init__(self, app: App, settings: ServerSettings) -> None:
        self._app = app
        self._token = settings.token
        self._cookie = None if settings.token is None else page_cookie(settings.token)
        self._local = is_loopback(settings.host)
        self._names = frozenset(name.lower() for name in settings.hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        started = False

        async def guarded(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message = {**message, "headers": _with_headers(message.get("headers", ()))}
            await send(message)

        try:
            self._check(scope)
        except HttpError as err:
            await refuse(guarded, err)
            return
        try:
            await self._app(scope, receive, guarded)
        except HttpError as err:
            if not started:
                await refuse(guarded, err)
        except Exception as err:  # noqa: BLE001 - the boundary of the server
            trace = "".join(traceback.format_exception(err))
            _log.error("a request failed: %s", redacted(trace))
            if not started:
                await refuse(guarded, HttpError(500, "the server failed; its log says why"))

    def _check(self, scope: Scope) -> None:
        headers = scope["headers"]
        self._check_client(scope)
        host = self._checked_host(headers)
        self._check_origin(scope, headers, host)
        if len(scope["path"]) > _PATH_MAX:
            raise HttpError(414, "the address is too long")
        path = scope["path"]
        if path in _OPEN or path.startswith(_OPEN_BELOW):
            return
        self._check_token(headers)

    def _check_client(self, scope: Scope) -> None:
        client = scope.get("client")
        # Whoever starts the application with a server of their own may listen anywhere.
        if self._token is None and client is not None and not is_loopback(client[0]):
            msg = "without a token only this machine is let in"
            raise HttpError(403, msg)

    def _checked_host(self, headers: Iterable[tuple[bytes, bytes]]) -> str:
        given = _values(headers, b"host")
        found = _HOST.fullmatch(given[0]) if len(given) == 1 else None
        if found is None:
            raise HttpError(400, "the request needs one valid `Host` header")
        name = found[1].lower()
        known = (
            is_loopback(name)
            or name in self._names
            # No web page can make a browser send another site's requests to an address.
            or (not self._local and _is_address(name))
        )
        if not known:
            msg = "this `Host` is not served; name it with `--allow-host`"
            raise HttpError(421, msg)
        return given[0].lower()

    def _check_origin(
        self, scope: Scope, headers: Iterable[tuple[bytes, bytes]], host: str
    ) -> None:
        origins = _values(headers, b"origin")
        if origins and origins != [f"{scope.get('scheme', 'http')}://{host}"]:
            raise HttpError(403, "requests of other sites are refused")
        sites = _values(headers, b"sec-fetch-site")
        changes = scope["method"] not in _SAFE
        if changes and any(site not in {"same-origin", "none"} for site in sites):
            raise HttpError(403, "requests of other sites are refused")

    def _check_token(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        if self._token is None or self._cookie is None:
            return
        given = _values(headers, b"authorization")
        if len(given) == 1:
            scheme, _, token = given[0].partition(" ")
            if scheme.lower() == "bearer" and _same(token.strip(), self._token):
                return
        elif not given and _same(_cookie_of(headers), self._cookie):
            return
        raise HttpError(401, "the token is missing or wrong")


def page_cookie(token: str) -> str:
    """Return what a browser keeps instead of the token; the token cannot be told from it."""
    return hmac.new(token.encode(), b"mdp live page", hashlib.sha256).hexdigest()


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def _cookie_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    cookies: SimpleCookie = SimpleCookie()
    for text in _values(headers, b"cookie"):
        try:
            cookies.load(text)
        except CookieError:
            return ""
    found = cookies.get(COOKIE)
    return "" if found is None else found.value


def _values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in headers if key == name]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _with_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    given = list(headers)
    names = {name.lower() for name, _ in given}
    if b"cache-control" not in names:
        given.append((b"cache-control", b"no-store"))
    return [*given, *(header for header in _HEADERS if header[0] not in names)]
