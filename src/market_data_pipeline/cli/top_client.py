"""What `mdp top` asks a server for, with nothing but Python's own library."""

from __future__ import annotations

__all__ = ("TopClient",)

import json
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from market_data_pipeline.errors import ConfigError, PipelineError
from market_data_pipeline.redaction import redacted

_TIMEOUT_S: Final = 10
_BYTES_MAX: Final = 32 * 1024 * 1024


class _Stay(HTTPRedirectHandler):
    """Follows no redirect, which would carry the token elsewhere."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class TopClient:
    """Asks a server for its figures.

    Args:
        url: Its address.
        token: Its token, if it wants one.
    """

    def __init__(self, url: str, token: str | None) -> None:
        try:
            parts = urlsplit(url)
            sound = parts.scheme in {"http", "https"} and parts.hostname and not parts.username
        except ValueError:
            sound = False
        if not sound:
            msg = f"expected an address such as `http://127.0.0.1:8083`, was `{redacted(url)}`"
            raise ConfigError(msg, parameter="url")
        self._url = url.rstrip("/")
        self._token = token
        self._opener = build_opener(_Stay)

    def figures(self) -> dict[str, Any]:
        """Return what the server shows.

        Raises:
            PipelineError: If it does not answer, or not as it should.
        """
        headers = {"accept": "application/json"}
        if self._token is not None:
            headers["authorization"] = f"Bearer {self._token}"
        request = Request(f"{self._url}/graph", headers=headers)  # noqa: S310 - http or https
        try:
            with self._opener.open(request, timeout=_TIMEOUT_S) as answer:
                data = answer.read(_BYTES_MAX)
            figures: dict[str, Any] = json.loads(data)
        except HTTPError as err:
            reason = {401: "the token is missing or wrong", 421: "it does not know this name"}
            msg = f"{self._url} answered {err.code}: {reason.get(err.code, err.reason)}"
            raise PipelineError(msg) from None
        except (URLError, OSError, HTTPException) as err:
            why = getattr(err, "reason", None) or err
            msg = f"nothing answers at {self._url} ({why}); start a server with `mdp serve`"
            raise PipelineError(msg) from None
        except ValueError:
            figures = {}
        if not isinstance(figures, dict) or "jobs" not in figures:
            msg = f"what answers at {self._url} is no `mdp serve`"
            raise PipelineError(msg)
        return figures
