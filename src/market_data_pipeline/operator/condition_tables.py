"""Which figures of a bar a trade updates, by its sale conditions.

The rules for US equities are those for consolidated figures in the tables of sale
conditions of the two tapes' specifications: *CTS Pillar Output Specification*, sale
conditions, and *UTP Data Feed Services Specification*, consolidated processing
guidelines. Two things there cannot be said in a table of codes. Where the last price is
to be updated "only if it is the first qualifying trade of the day" (derivatively priced,
prior reference price, sold out of sequence, bunched sold), it is not updated here. Where a
trade sold last updates it depending on who reported the trade before and when, it is.

The bits of LEAN's mask are those of its enumeration `TradeConditionFlags`; each has the
rule of the sale condition it is named after.
"""

from __future__ import annotations

__all__ = (
    "ALL",
    "HIGH_LOW",
    "NONE",
    "OPEN_CLOSE",
    "TABLES",
    "VOLUME",
    "ConditionTable",
    "table_of",
)

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from market_data_pipeline.errors import ConfigError, nearest

NONE: Final = 0
VOLUME: Final = 1
"""Volume, volume-weighted price and number of trades."""
HIGH_LOW: Final = 2
"""The highest and the lowest price."""
OPEN_CLOSE: Final = 4
"""The first and the last price."""
ALL: Final = VOLUME | HIGH_LOW | OPEN_CLOSE

_WORDS: Final = MappingProxyType(
    {
        "volume": VOLUME,
        "high_low": HIGH_LOW,
        "open_close": OPEN_CLOSE,
        "all": ALL,
        "none": NONE,
    }
)
_YES: Final = frozenset({"1", "yes", "true", "y", "x"})
_NO: Final = frozenset({"0", "no", "false", "n", ""})
_SEPARATORS: Final = re.compile(r"[\s,;|]+")
_NO_LAST: Final = VOLUME | HIGH_LOW


@dataclass(frozen=True, slots=True)
class ConditionTable:
    """What trades of each condition update.

    Attributes:
        rules: Updates by condition: a code, or with `bits` the number of a single bit.
        bits: True if the conditions of a trade are the bits of a number.
    """

    rules: Mapping[str | int, int]
    bits: bool = False

    def updates(self, value: str | int | None) -> tuple[int, bool]:
        """Return what a trade updates, and whether all of its conditions are known.

        Several conditions leave what each of them leaves. One that is not known takes
        nothing away.

        Args:
            value: What the row has as its condition; nothing is no condition.
        """
        if value is None:
            return ALL, True
        if self.bits:
            return self._of_mask(value)
        return self._of_codes([str(value)] if isinstance(value, int) else self._split(value))

    def _of_mask(self, value: str | int) -> tuple[int, bool]:
        if isinstance(value, str):
            text = value.strip().lower().removeprefix("0x")
            try:
                mask = int(text, 16) if text else 0
            except ValueError:
                return ALL, False
        else:
            mask = value
        updates, known = ALL, mask >= 0
        while mask > 0:
            bit = mask & -mask
            mask ^= bit
            rule = self.rules.get(bit)
            known &= rule is not None
            updates &= ALL if rule is None else rule
        return updates, known

    def _split(self, text: str) -> Sequence[str]:
        codes = [code for code in _SEPARATORS.split(text) if code]
        # A field of four letters is four conditions, unless there are longer codes.
        letters = all(len(str(code)) == 1 for code in self.rules)
        return "".join(codes) if letters else codes

    def _of_codes(self, codes: Sequence[str]) -> tuple[int, bool]:
        updates, known = ALL, True
        for code in codes:
            rule = self.rules.get(code)
            known &= rule is not None
            updates &= ALL if rule is None else rule
        return updates, known


def table_of(
    setting: str | Mapping[str, str | int | Sequence[str]], *, bits: bool = False
) -> ConditionTable:
    """Return the table that a setting names or holds.

    Args:
        setting: The name of a built-in table; the path of a CSV file with the columns
            `code`, `volume`, `high_low` and `open_close`, each yes or no; or a mapping of
            codes to what they update: words of `volume`, `high_low`, `open_close`, `all`
            and `none`, or the sum of 1, 2 and 4.
        bits: The codes are bits of a number; a text is taken as hexadecimal.

    Raises:
        ConfigError: If there is no such table, or it cannot be understood.
    """
    if not isinstance(setting, str):
        rules: dict[str | int, int] = {
            code: _updates(code, rule) for code, rule in setting.items()
        }
    elif setting in TABLES:
        if bits and not TABLES[setting].bits:
            msg = f"`bits` is for a table of bits, and `{setting}` is one of codes"
            raise ConfigError(msg, parameter="bits")
        return TABLES[setting]
    elif setting.lower().endswith(".csv"):
        rules = _read(Path(setting))
    else:
        names = ", ".join(f"`{name}`" for name in TABLES)
        msg = (
            f"there is no table `{setting}`{nearest(setting, TABLES)} (tables: {names}; or the "
            f"path of a CSV file, or a mapping)"
        )
        raise ConfigError(msg, parameter="table")
    if not rules:
        msg = "`table` of `conditions` must hold at least one condition"
        raise ConfigError(msg, parameter="table")
    if not bits:
        return ConditionTable(MappingProxyType(dict(rules)))
    return ConditionTable(
        MappingProxyType({_bit(code): rule for code, rule in rules.items()}), bits=True
    )


def _updates(code: str, rule: str | int | Sequence[str]) -> int:
    if isinstance(rule, int):
        if not isinstance(rule, bool) and NONE <= rule <= ALL:
            return rule
        msg = f"`table.{code}` must be 0 to 7, the sum of 1, 2 and 4, was {rule!r}"
        raise ConfigError(msg, parameter="table")
    updates = NONE
    for word in _SEPARATORS.split(rule.strip()) if isinstance(rule, str) else rule:
        if word not in _WORDS:
            words = ", ".join(f"`{known}`" for known in _WORDS)
            msg = (
                f"`table.{code}` must be of the words {words}{nearest(word, _WORDS)}, was `{word}`"
            )
            raise ConfigError(msg, parameter="table")
        updates |= _WORDS[word]
    return updates


def _bit(code: str | int) -> int:
    try:
        bit = int(str(code), 16)
    except ValueError:
        bit = 0
    if bit <= 0 or bit & (bit - 1):
        msg = f"`table.{code}` must be one bit in hexadecimal, as `20` or `0x20`"
        raise ConfigError(msg, parameter="table")
    return bit


def _read(path: Path) -> dict[str | int, int]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as err:
        msg = f"`table` of `conditions`: {path} cannot be read: {err.strerror or err}"
        raise ConfigError(msg, parameter="table") from err
    rows = csv.DictReader(lines)
    columns = {"volume": VOLUME, "high_low": HIGH_LOW, "open_close": OPEN_CLOSE}
    missing = {"code", *columns} - set(rows.fieldnames or ())
    if missing:
        names = ", ".join(f"`{name}`" for name in sorted(missing))
        msg = f"{path} needs the columns {names} (columns: {', '.join(rows.fieldnames or ())})"
        raise ConfigError(msg, parameter="table")
    rules: dict[str | int, int] = {}
    for row in rows:
        rules[row["code"]] = NONE
        for name, bit in columns.items():
            answer = (row[name] or "").strip().lower()
            if answer not in _YES | _NO:
                msg = (
                    f"{path}, line {rows.line_num}: `{name}` must be yes or no, was `{row[name]}`"
                )
                raise ConfigError(msg, parameter="table")
            rules[row["code"]] |= bit if answer in _YES else NONE
    return rules


_BOTH_TAPES: Final[dict[str | int, int]] = {
    "@": ALL,  # regular
    "C": VOLUME,  # cash
    "F": ALL,  # intermarket sweep
    "H": VOLUME,  # price variation
    "I": VOLUME,  # odd lot
    "K": ALL,  # rule 127 or 155
    "L": ALL,  # sold last
    "M": NONE,  # market centre's official close
    "N": VOLUME,  # next day
    "O": ALL,  # opening
    "P": _NO_LAST,  # prior reference price
    "Q": NONE,  # market centre's official open
    "R": VOLUME,  # seller
    "T": VOLUME,  # extended hours, form T
    "U": VOLUME,  # extended hours, sold out of sequence
    "V": VOLUME,  # contingent
    "X": ALL,  # cross, periodic auction
    "Z": _NO_LAST,  # sold out of sequence
    "4": _NO_LAST,  # derivatively priced
    "5": ALL,  # re-opening
    "6": ALL,  # closing
    "7": VOLUME,  # qualified contingent
    "9": HIGH_LOW | OPEN_CLOSE,  # corrected consolidated close
}
_CTS: Final[dict[str | int, int]] = {
    "B": VOLUME,  # average price
    "E": ALL,  # automatic execution
}
_UTP: Final[dict[str | int, int]] = {
    "A": ALL,  # acquisition
    "B": ALL,  # bunched
    "D": ALL,  # distribution
    "G": _NO_LAST,  # bunched, sold
    "S": ALL,  # split
    "W": VOLUME,  # average price
    "Y": ALL,  # yellow flag
    "1": ALL,  # stopped stock
}
_LEAN: Final[dict[str | int, int]] = {
    1 << 0: ALL,  # regular
    1 << 1: VOLUME,  # cash
    1 << 2: VOLUME,  # next day
    1 << 3: VOLUME,  # seller
    1 << 4: ALL,  # yellow flag
    1 << 5: ALL,  # intermarket sweep
    1 << 6: ALL,  # opening
    1 << 7: ALL,  # closing
    1 << 8: ALL,  # re-opening
    1 << 9: _NO_LAST,  # derivatively priced
    1 << 10: VOLUME,  # form T
    1 << 11: ALL,  # sold last
    1 << 12: ALL,  # stopped
    1 << 13: VOLUME,  # extended hours
    1 << 14: _NO_LAST,  # out of sequence
    1 << 15: ALL,  # split
    1 << 16: ALL,  # acquisition
    1 << 17: ALL,  # bunched
    1 << 18: VOLUME,  # stock-option, contingent
    1 << 19: ALL,  # distribution
    1 << 20: VOLUME,  # average price
    1 << 21: ALL,  # cross
    1 << 22: VOLUME,  # price variation
    1 << 23: ALL,  # rule 155
    1 << 24: NONE,  # official close
    1 << 25: _NO_LAST,  # prior reference price
    1 << 26: NONE,  # official open
    1 << 27: ALL,  # CAP election
    1 << 28: ALL,  # automatic execution
    1 << 29: ALL,  # exempt from the trade-through rule
    1 << 31: VOLUME,  # odd lot
}

TABLES: Final[Mapping[str, ConditionTable]] = MappingProxyType(
    {
        # `B` is an average price on one tape and bunched trades on the other.
        "us_equity": ConditionTable(MappingProxyType({**_BOTH_TAPES, **_UTP, **_CTS})),
        "us_equity_cts": ConditionTable(MappingProxyType({**_BOTH_TAPES, **_CTS})),
        "us_equity_utp": ConditionTable(MappingProxyType({**_BOTH_TAPES, **_UTP})),
        "lean_us_equity": ConditionTable(MappingProxyType(_LEAN), bits=True),
    }
)
