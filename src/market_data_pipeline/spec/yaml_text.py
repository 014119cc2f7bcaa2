"""YAML text as values that know where they stand, and nothing a stranger could abuse.

The scalars are those of YAML 1.2 (and JSON): `true`, `false`, `null` and numbers; `no`,
`on`, `1:30` and `2024-01-01` are text, and so is `007`, which may be a symbol. Tags,
anchors, aliases and a second document are refused, and size, depth and number of values
are bounded. A JSON text is a YAML text.
"""

from __future__ import annotations

__all__ = ("MAX_BYTES", "MAX_DEPTH", "MAX_VALUES", "Scalar", "Value", "parse_yaml", "plain_scalar")

import math
import re
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, TypeAlias

import yaml

from market_data_pipeline.errors import Problem, SpecError
from market_data_pipeline.spec.excerpts import SpecText, shown

MAX_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 64
MAX_VALUES: Final = 20_000
_MAX_DIGITS: Final = 400  # of a number; Python refuses to read more than 4,300

Scalar: TypeAlias = str | int | float | bool | None

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WORDS: Final[dict[str, Scalar]] = {
    **dict.fromkeys(("null", "Null", "NULL", "~", "")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_BASED: Final = re.compile(r"0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?")
_UNPRINTABLE: Final = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a spec, with its place.

    Attributes:
        content: A scalar, a list of values, or values by key.
        text: The text it stands in.
        line: Line of its first character, from 1.
        column: Column of it, from 1.
        key: The key it belongs to, as a value; None for items of a list.
    """

    content: Scalar | list[Value] | dict[str, Value]
    text: SpecText = field(repr=False)
    line: int
    column: int
    key: Value | None = field(default=None, repr=False)

    def problem(self, message: str) -> Problem:
        """Return a problem at this place."""
        return self.text.problem(message, self.line, self.column)

    @property
    def kind(self) -> str:
        """What it is, in words."""
        content = self.content
        if isinstance(content, dict):
            return "a mapping"
        if isinstance(content, list):
            return "a list"
        if content is None:
            return "nothing"
        if isinstance(content, str):
            return f"the text `{shown(content)}`"
        return f"`{str(content).lower() if isinstance(content, bool) else content}`"

    def plain(self) -> Any:
        """Return it as plain Python data."""
        if isinstance(self.content, dict):
            return {key: value.plain() for key, value in self.content.items()}
        if isinstance(self.content, list):
            return [value.plain() for value in self.content]
        return self.content


def parse_yaml(data: str | bytes, file: str) -> Value:
    """Read one YAML document.

    Args:
        data: The text; bytes are UTF-8, with or without a byte order mark.
        file: Name of the file, for messages.

    Raises:
        SpecError: If the text is not YAML, or is more than a spec may be.
    """
    text = SpecText(file, _decode(data, file))
    found = _UNPRINTABLE.search(text.text)
    if found:
        line, column = text.place_of(found.start())
        _fail(text, f"the character U+{ord(found.group()):04X} cannot be in a spec", line, column)
    builder = _Builder(text)
    try:
        for event in yaml.parse(text.text, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as err:
        line, column = _syntax_place(err, builder)
        _fail(text, _syntax_message(err, text, line, column), line, column)
    except yaml.YAMLError as err:
        _fail(text, f"this is not YAML: {err}", 1, 1)
    if builder.root is None:
        _fail(text, "there is nothing in it; expected a mapping with `nodes`", 1, 1)
    return builder.root


def plain_scalar(text: str) -> Scalar:
    """Return what a scalar without quotes stands for.

    Raises:
        ValueError: If it is a number that is out of range.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        if len(text) > _MAX_DIGITS:
            msg = f"the number has {len(text)} digits; expected at most {_MAX_DIGITS}"
            raise ValueError(msg)
        return int(text)
    if _BASED.fullmatch(text) and len(text) <= _MAX_DIGITS:
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        number = float(text)
        if math.isinf(number):
            msg = f"the number `{shown(text)}` is out of range"
            raise ValueError(msg)
        return number
    return text


def _decode(data: str | bytes, file: str) -> str:
    empty = SpecText(file, "")
    if isinstance(data, str):
        text = SpecText(file, data)
        try:
            data = data.encode()
        except UnicodeEncodeError as err:
            line, column = text.place_of(err.start)
            _fail(text, "the text holds half a character (a lone surrogate)", line, column)
    if len(data) > MAX_BYTES:
        _fail(empty, f"the text has {len(data):,} bytes; a spec has at most {MAX_BYTES:,}", 1, 1)
    if b"\0" in data:
        head = data[: data.index(b"\0")].decode("utf-8", "replace")
        line, column = SpecText(file, head).place_of(len(head))
        _fail(empty, "there is a NUL character; is this a text file, in UTF-8?", line, column)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        head = data[: err.start].decode()
        line, column = SpecText(file, head).place_of(len(head))
        msg = f"the byte 0x{data[err.start]:02x} is not UTF-8; save the file as UTF-8"
        _fail(empty, msg, line, column)


def _syntax_place(err: yaml.MarkedYAMLError, builder: _Builder) -> tuple[int, int]:
    """Return where it went wrong; if that is past the text, the last place that was sound."""
    mark = err.problem_mark or err.context_mark
    if mark is not None and builder.text.line(mark.line + 1).strip():
        return mark.line + 1, mark.column + 1
    return builder.last


def _syntax_message(err: yaml.MarkedYAMLError, text: SpecText, line: int, column: int) -> str:
    what = err.problem or "it cannot be read"
    if "cannot start any token" in what and text.line(line)[column - 1 : column] == "\t":
        what = "found a tab; indent with spaces"
    context = f" ({err.context})" if err.context else ""
    return f"this is not YAML: {what}{context}"


def _fail(text: SpecText, message: str, line: int, column: int) -> NoReturn:
    raise SpecError([text.problem(message, line, column)]) from None


class _Builder:
    """Makes values from parser events, without recursion."""

    def __init__(self, text: SpecText) -> None:
        self.root: Value | None = None
        self.text = text
        self.last = (1, 1)
        self._open: list[Value] = []
        self._keys: list[Value | None] = []
        self._count = 0

    def take(self, event: Any) -> None:
        if isinstance(event, yaml.NodeEvent):
            mark: Any = event.start_mark
            self.last = mark.line + 1, mark.column + 1
        if isinstance(event, yaml.AliasEvent):
            self._fail_at(event, f"`*{event.anchor}` is an alias; write the value out")
        if isinstance(event, yaml.NodeEvent):
            self._take_value(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()
            self._keys.pop()
        elif isinstance(event, yaml.DocumentStartEvent) and self.root is not None:
            self._fail_at(event, "a second document begins here; a spec is one document")

    def _take_value(self, event: Any) -> None:
        if event.anchor is not None:
            self._fail_at(event, f"`&{event.anchor}` is an anchor; write the value out")
        if event.tag is not None:
            self._fail_at(event, f"`{event.tag}` is a tag; a spec is plain data")
        self._count += 1
        if self._count > MAX_VALUES:
            self._fail_at(event, f"there are more than {MAX_VALUES:,} values")
        key_expected = bool(self._open) and isinstance(self._open[-1].content, dict)
        if key_expected and self._keys[-1] is None:
            self._keys[-1] = self._key(event)
            return
        value = self._value(event)
        self._put(value)
        if not isinstance(event, yaml.ScalarEvent):
            if len(self._open) == MAX_DEPTH:
                self._fail_at(event, f"values are nested more than {MAX_DEPTH} deep")
            self._open.append(value)
            self._keys.append(None)

    def _key(self, event: Any) -> Value:
        if not isinstance(event, yaml.ScalarEvent):
            self._fail_at(event, "a key must be one word or text, was a mapping or a list")
        key = self._at(event, event.value, None)
        siblings: Any = self._open[-1].content
        self._check_text(event)
        if event.value in siblings:
            first = siblings[event.value].key
            msg = (
                f"the key `{shown(event.value)}` is here twice; the first is in line {first.line}"
            )
            self._fail_at(event, msg)
        return key

    def _value(self, event: Any) -> Value:
        key = self._keys[-1] if self._keys else None
        if isinstance(event, yaml.MappingStartEvent):
            return self._at(event, {}, key)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._at(event, [], key)
        if not event.implicit[0]:
            self._check_text(event)
            return self._at(event, event.value, key)
        try:
            return self._at(event, plain_scalar(event.value), key)
        except ValueError as err:
            self._fail_at(event, str(err))

    def _put(self, value: Value) -> None:
        if not self._open:
            self.root = value
            return
        parent: Any = self._open[-1].content
        if isinstance(parent, list):
            parent.append(value)
        elif value.key is not None:
            parent[value.key.content] = value
            self._keys[-1] = None

    def _check_text(self, event: Any) -> None:
        if any(char == "\0" or "\ud800" <= char <= "\udfff" for char in event.value):
            self._fail_at(event, "the text holds a NUL or half a character; neither is text")

    def _at(self, event: Any, content: Any, key: Value | None) -> Value:
        mark = event.start_mark
        return Value(content, self.text, mark.line + 1, mark.column + 1, key)

    def _fail_at(self, event: Any, message: str) -> NoReturn:
        _fail(self.text, message, event.start_mark.line + 1, event.start_mark.column + 1)
