"""What a conversion kernel says of a row it could or could not convert.

The codes are constants of the compiled kernels; `source.cells` gives them words.
"""

from __future__ import annotations

__all__ = (
    "BAD_TEXT",
    "EMPTY",
    "INEXACT",
    "LOCAL",
    "MALFORMED",
    "NEGATIVE",
    "NEGATIVE_PRICE",
    "NONEXISTENT",
    "NOT_FINITE",
    "OK",
    "OVERFLOW",
    "UNSURE",
)

from typing import Final

OK: Final = 0
EMPTY: Final = 1
MALFORMED: Final = 2
INEXACT: Final = 3
OVERFLOW: Final = 4
NOT_FINITE: Final = 5
NEGATIVE: Final = 6
NONEXISTENT: Final = 7
LOCAL: Final = 8
"""A time that names no zone; not a defect, the caller applies one."""
UNSURE: Final = 9
"""A float whose shortest decimal must be asked for; the caller asks."""
BAD_TEXT: Final = 10
NEGATIVE_PRICE: Final = 11
