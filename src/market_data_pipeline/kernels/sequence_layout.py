"""Where the state of a sequence is in its arrays: words of a key, of a gap, of a record."""

from __future__ import annotations

__all__ = (
    "AFTER",
    "BEFORE",
    "CURRENT",
    "DUPLICATE",
    "EDGE",
    "EXPIRES",
    "FILLED",
    "FIRST_POS",
    "FLOOR",
    "FORMER",
    "FORMER_RESTART",
    "GAP",
    "HAS_FORMER",
    "HEAD",
    "HEADS",
    "HIGHEST",
    "KINDS",
    "LAST",
    "LAST_POS",
    "LAST_TIME",
    "NEWER",
    "NODE",
    "OLDER",
    "OPEN",
    "OUT_OF_SEQUENCE",
    "RECORD",
    "RESET",
    "RESTART",
    "RESUMED",
    "STATE",
    "TAIL",
    "TAILS",
    "USED",
    "WRAP",
)

from typing import Final

KINDS: Final = (
    "",
    "gap",
    "reset",
    "wrap",
    "filled",
    "duplicate",
    "out_of_sequence",
    "resumed",
)
"""What a record tells, by its code."""
GAP: Final = 1
RESET: Final = 2
WRAP: Final = 3
FILLED: Final = 4
DUPLICATE: Final = 5
OUT_OF_SEQUENCE: Final = 6
RESUMED: Final = 7

STATE: Final = 24
"""Words of a key's state: 192 bytes, three cache lines."""
USED: Final = 0
EDGE: Final = 1
"""Word of the state that holds the event time from which on the next session counts."""
HIGHEST: Final = 2
"""Word of the state that holds the highest event time of the key."""
RESTART: Final = 3  # event time at which the current sequence began
OPEN: Final = 4
"""Word of the state that counts open gaps in the lists of both sequences."""
CURRENT: Final = 5
FORMER: Final = 10
HAS_FORMER: Final = 15
"""Word of the state: 0 without a former sequence, 1 if a number said that another began,
2 if a session did."""
FORMER_RESTART: Final = 16
# Words of one sequence, from `CURRENT` or `FORMER` on. Positions are numbers that go on
# past a wrap.
LAST: Final = 0  # highest position seen
FLOOR: Final = 1  # at this position and below it is not known what was seen
LAST_TIME: Final = 2  # event time of the row at the highest position
HEAD: Final = 3  # newest gap, -1 for none
TAIL: Final = 4  # oldest gap

HEADS: Final = (CURRENT + HEAD, FORMER + HEAD)
TAILS: Final = (CURRENT + TAIL, FORMER + TAIL)

NODE: Final = 8
"""Words of an open gap: first and last position, event times of the rows before and after
it, when it is forgotten, the next newer and the next older gap, and one to spare."""
FIRST_POS: Final = 0
LAST_POS: Final = 1
BEFORE: Final = 2
AFTER: Final = 3
EXPIRES: Final = 4
NEWER: Final = 5
OLDER: Final = 6

RECORD: Final = 9
"""Words of a record: row, kind, number, number before, first and last missing number,
rows, event times of the rows before and after."""
