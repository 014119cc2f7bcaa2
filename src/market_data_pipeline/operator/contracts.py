"""What the symbol of an option says: its underlying, expiry, strike and right."""

from __future__ import annotations

__all__ = ("Contract", "contract_of")

import re
from dataclasses import dataclass
from datetime import date
from typing import Final

# As the Options Clearing Corporation writes it: root, year, month, day, right, strike in
# thousandths; the root may be filled up with spaces to six letters.
_SYMBOL: Final = re.compile(
    r"([A-Z][A-Z0-9.]{0,5}) {0,5}(\d\d)(\d\d)(\d\d)([CP])(\d{8})", re.ASCII
)
_CENTURY: Final = 2_000
_STRIKE_SCALE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Contract:
    """An option.

    Attributes:
        underlying: What it is an option on.
        expiry: The day it expires.
        strike: Its strike in units of 1e-9.
        is_call: True for a call, False for a put.
    """

    underlying: str
    expiry: date
    strike: int
    is_call: bool


def contract_of(symbol: str) -> Contract | None:
    """Return the option that a symbol names, as `AAPL240119C00150000`; None if it is none."""
    found = _SYMBOL.fullmatch(symbol)
    if found is None:
        return None
    root, year, month, day, right, strike = found.groups()
    try:
        expiry = date(_CENTURY + int(year), int(month), int(day))
    except ValueError:
        return None
    return Contract(root, expiry, int(strike) * _STRIKE_SCALE, right == "C")
