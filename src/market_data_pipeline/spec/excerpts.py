"""The text of a spec, for messages that show the line at fault."""

from __future__ import annotations

__all__ = ("SpecText", "shown")

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from market_data_pipeline.errors import Problem

_BREAK: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_WIDTH: Final = 100
_LEAD: Final = 60
_SHOWN: Final = 60


@dataclass(frozen=True)
class SpecText:
    """A text with a name.

    Attributes:
        file: The file it comes from, or another name for it.
        text: The text.
    """

    file: str
    text: str = field(repr=False)

    @cached_property
    def _lines(self) -> list[str]:
        return _BREAK.split(self.text)

    def line(self, number: int) -> str:
        """Return a line, counted from 1, without its end; empty if there is none."""
        return self._lines[number - 1] if 0 < number <= len(self._lines) else ""

    def place_of(self, offset: int) -> tuple[int, int]:
        """Return line and column, from 1, of a character."""
        lines = _BREAK.split(self.text[:offset])
        return len(lines), len(lines[-1]) + 1

    def problem(self, message: str, line: int, column: int) -> Problem:
        """Return a problem at a place, with the line and a mark under the column."""
        return Problem(_on_one_line(message), self.file, line, column, self._excerpt(line, column))

    def _excerpt(self, line: int, column: int) -> str:
        text = self.line(line)
        if not text.strip():
            return ""
        start = max(0, column - 1 - _LEAD)
        part = "".join(c if c.isprintable() else " " for c in text[start : start + _WIDTH])
        before = "... " if start else ""
        after = " ..." if len(text) > start + _WIDTH else ""
        mark = " " * (len(before) + column - 1 - start) + "^"
        return f"{line:>6} | {before}{part}{after}\n       | {mark}"


def shown(text: str) -> str:
    """Return text as it can stand in a message: on one line and not too long."""
    text = _on_one_line(text)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _on_one_line(text: str) -> str:
    """Return text with control characters spelled out, so that it cannot move the cursor."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )
