"""YAML as plain data with places."""

from __future__ import annotations

import pytest

from market_data_pipeline.errors import SpecError
from market_data_pipeline.spec.yaml_text import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_VALUES,
    parse_yaml,
    plain_scalar,
)


def refused(text: str | bytes) -> SpecError:
    """Return the error a text is refused with."""
    with pytest.raises(SpecError) as caught:
        parse_yaml(text, "p.yaml")
    return caught.value


def test_every_key_and_value_knows_its_place() -> None:
    """Lines and columns count from 1."""
    root = parse_yaml("a: 1\nbb:\n  - x\n  - {c: d}\n", "p.yaml")
    assert isinstance(root.content, dict)
    bb = root.content["bb"]
    assert bb.key is not None
    assert (bb.key.line, bb.key.column) == (2, 1)
    assert isinstance(bb.content, list)
    assert [(item.line, item.column) for item in bb.content] == [(3, 5), (4, 5)]
    assert root.plain() == {"a": 1, "bb": ["x", {"c": "d"}]}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("007", "007"),
        ("1_000", "1_000"),
        ("-5", -5),
        ("0x1F", 31),
        ("0o17", 15),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("true", True),
        ("~", None),
        ("null", None),
        ("<<", "<<"),
        ("=", "="),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    """What YAML 1.1 takes for dates, times and booleans stays text."""
    found = plain_scalar(text)
    assert found == value
    assert type(found) is type(value)
    assert parse_yaml(f"a: {text}", "p").plain() == {"a": value}


def test_json_is_read_with_its_escapes() -> None:
    """A JSON text is a YAML text."""
    text = '{\n\t"a": [1, 2.5, null, true, "\\u00e9\\/\\n"],\n\t"b": {}\n}'
    assert parse_yaml(text, "p.json").plain() == {"a": [1, 2.5, None, True, "é/\n"], "b": {}}


def test_a_byte_order_mark_is_skipped() -> None:
    """Editors on Windows write one."""
    assert parse_yaml(b"\xef\xbb\xbfa: 1", "p").plain() == {"a": 1}


def test_a_duplicate_key_names_both_lines() -> None:
    """The second one would silently win."""
    err = refused("a: 1\nb: 2\na: 3\n")
    assert (err.line, err.column) == (3, 1)
    assert "`a` is here twice; the first is in line 1" in str(err)


def test_keys_that_differ_only_in_spelling_of_a_number_are_two() -> None:
    """A key is its text."""
    assert parse_yaml("{1: a, 01: b, true: c}", "p").plain() == {"1": "a", "01": "b", "true": "c"}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a: !!python/object/apply:os.system [ls]", "tag"),
        ("a: !!str 5", "tag"),
        ("a: ! x", "tag"),
        ("a: &x 1", "anchor"),
        ("a: *x", "alias"),
        ("- 1\n--- \n- 2", "second document"),
    ],
)
def test_what_is_not_plain_data_is_refused(text: str, word: str) -> None:
    """Nothing in a spec can make an object or repeat another part."""
    assert word in str(refused(text))


def test_an_alias_bomb_is_refused_at_its_first_anchor() -> None:
    """Ten lines of nine aliases each stand for a billion values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    err = refused("\n".join(lines))
    assert (err.line, err.column) == (1, 5)
    assert "`&a0` is an anchor" in str(err)


def test_size_depth_and_number_of_values_are_bounded() -> None:
    """Each bound is told by its own number."""
    assert f"{MAX_BYTES:,}" in str(refused(b"#" * (MAX_BYTES + 1)))
    assert f"{MAX_DEPTH} deep" in str(refused("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)))
    assert parse_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH, "p").kind == "a list"
    assert f"{MAX_VALUES:,}" in str(refused("[" + "1," * MAX_VALUES + "1]"))


@pytest.mark.parametrize(
    ("data", "line", "column"),
    [
        (b"a: 1\nb: \xff\n", 2, 4),
        (b"a: 1\nb: x\0y\n", 2, 5),
        (b"a: 1\nb: x\x1b[31m\n", 2, 5),
        ("a: 1\nb: \ud800", 2, 4),
        ('a: "\\0"', 1, 4),
    ],
)
def test_bytes_that_are_no_text_are_refused_with_their_place(
    data: str | bytes, line: int, column: int
) -> None:
    """UTF-8 without NUL and control characters, raw or escaped."""
    err = refused(data)
    assert (err.line, err.column) == (line, column)
    assert "\x1b" not in str(err)


def test_a_text_in_utf_16_says_what_is_expected() -> None:
    """Windows tools save it so."""
    assert "UTF-8" in str(refused("a: 1".encode("utf-16")))


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("a: [1, 2\n", 1, "not YAML"),
        ("a: 1\n\tb: 2\n", 2, "tab"),
        ("a: 'x\n", 1, "not YAML"),
        ("a: 1\n b: 2\n", 2, "not YAML"),
        ("? [x]\n: 1", 1, "key must be"),
        ("a: " + "9" * 500, 1, "500 digits"),
        ("a: 1e999", 1, "out of range"),
    ],
)
def test_broken_text_is_refused_where_it_breaks(text: str, line: int, word: str) -> None:
    """An end too early points at the last sound place."""
    err = refused(text)
    assert err.line == line
    assert word in str(err)


def test_an_empty_text_says_what_is_expected() -> None:
    """No value at all is not the value null."""
    for text in ("", "   \n", "# only a comment\n"):
        assert "nothing in it" in str(refused(text))


def test_the_excerpt_puts_a_mark_under_the_column() -> None:
    """The mark stands under the character, also in a long line cut on both sides."""
    err = refused("first: 1\nok: 1\nfirst: 2")
    assert str(err).splitlines()[1:] == ["     3 | first: 2", "       | ^"]
    err = refused("a: [" + "1234, " * 100 + "!x 5" + ", 6" * 100 + "]")
    shown, mark = str(err).splitlines()[1:]
    assert shown[mark.index("^") :].startswith("!x 5")
    assert len(shown) < 130


def test_a_hostile_key_cannot_reach_the_terminal() -> None:
    """Control characters from escapes are spelled out."""
    err = refused('{"\\e[31m\\nred": 1, "\\e[31m\\nred": 2}')
    assert "\x1b" not in str(err)
    assert "\\x1b[31m\\nred" in str(err)
