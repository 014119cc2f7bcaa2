"""Settings that nobody may see: passwords, and addresses that hold one."""

from __future__ import annotations

__all__ = ("Secret", "SecretText")

import os
import re
from typing import Annotated, Any, Final, TypeAlias, final

from pydantic import BeforeValidator, WithJsonSchema

from market_data_pipeline.errors import ConfigError

_HIDDEN: Final = "**********"
_REFERENCE: Final = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}", re.ASCII)


@final
class Secret:
    """Text that shows itself to nobody but `reveal`.

    `${env:NAME}` stands for the environment variable NAME, looked up when it is revealed;
    it is no secret itself and can be written down.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    @property
    def reference(self) -> str | None:
        """The text if it only says where the secret is, else None."""
        return self._text if _REFERENCE.fullmatch(self._text) else None

    def reveal(self) -> str:
        """Return the text itself, for the one who needs it; never put it in a message.

        Raises:
            ConfigError: If the environment variable is not set.
        """
        found = _REFERENCE.fullmatch(self._text)
        if found is None:
            return self._text
        value = os.environ.get(found[1])
        if not value:
            msg = f"the environment variable `{found[1]}` is not set"
            raise ConfigError(msg)
        return value

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        shown = self.reference or (_HIDDEN if self._text else "")
        return f"Secret({shown!r})"

    def __str__(self) -> str:
        return self.reference or (_HIDDEN if self._text else "")

    def __reduce__(self) -> Any:
        msg = "a secret is not copied to other processes"
        raise TypeError(msg)


def _secret(value: object) -> Secret:
    if isinstance(value, Secret):
        return value
    if isinstance(value, str):
        return Secret(value)
    # What was given is left out: it may be the secret in another form.
    msg = f"input should be a valid string, was of type {type(value).__name__}"
    raise ValueError(msg)


SecretText: TypeAlias = Annotated[
    Secret | str, BeforeValidator(_secret), WithJsonSchema({"type": "string", "writeOnly": True})
]
"""A setting that is kept as a `Secret` and given as text."""
