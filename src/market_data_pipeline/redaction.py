"""Take secrets out of a text before anybody reads it."""

from __future__ import annotations

__all__ = ("HIDDEN", "is_secret_name", "redacted")

import re
from collections.abc import Iterable
from typing import Final

HIDDEN: Final = "***"

_WORDS: Final = (
    r"pass(?:word|wd|phrase|code)|(?<![a-z])pass|pwd|secret|token|api[_.-]?key|access[_.-]?key|"
    r"private[_.-]?key|credentials?|authorization|signature"
)
# `user:password@` of a URL, up to the last `@` of the word: a password may hold one, and
# hosts do not. A password without a user is one too.
_IN_URL: Final = re.compile(r"""(\b[A-Za-z][\w+.-]{0,31}://[^\s:/@'"]{0,128}:)[^\s'"]{0,256}@""")
_SCHEME: Final = re.compile(r"(?i)\b(bearer|basic|digest)\s+[\w~+/.=:-]{4,}")
_SETTING: Final = re.compile(
    # What the name begins with stays anyway, and looking for it would take long.
    rf"""(?ix)
    ( (?: {_WORDS} ) ["']? \s{{0,4}} [=:] \s{{0,4}} )
    ( "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' | [^\s,;&)\]}}"']+ )
    """
)
_NAME: Final = re.compile(rf"(?i)(?:^|[_.-])(?:{_WORDS}|dsn)(?:$|[_.-])")
_SHORTEST: Final = 4


def is_secret_name(name: str) -> bool:
    """Tell whether a setting of this name holds a secret."""
    return _NAME.search(name) is not None


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text without its secrets.

    Passwords in URLs and connection strings, values of settings whose name says that they
    are secret, and credentials of HTTP headers are replaced by `***`.

    Args:
        text: What is about to be shown.
        secrets: Secrets known by their values; those of fewer than four characters are
            left, as they would be found in innocent words.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, HIDDEN)
    text = _IN_URL.sub(rf"\1{HIDDEN}@", text)
    text = _SCHEME.sub(rf"\1 {HIDDEN}", text)
    return _SETTING.sub(_hide_value, text)


def _hide_value(found: re.Match[str]) -> str:
    value = found[2]
    quote = value[0] if value[0] in "\"'" else ""
    return f"{found[1]}{quote}{HIDDEN}{quote}"
