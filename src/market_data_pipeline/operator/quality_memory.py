"""What `quality` remembers of symbols: slots in one array, found by the symbol's code."""

from __future__ import annotations

__all__ = ("QualityMemory",)

from typing import Final

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import TIME_MIN
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.errors import SnapshotError
from market_data_pipeline.records import Flaw
from market_data_pipeline.symbols import SymbolTable

_LEAST_SLOTS: Final = 16
_OF_SYMBOLS: Final = Flaw.OUT_OF_SEQUENCE | Flaw.STALE | Flaw.PRICE_BAND | Flaw.OUTLIER
_SAVED: Final = frozenset({"symbol", "words"})


class QualityMemory:
    """The slots of the symbols that are remembered; see `kernels.quality` for their words.

    Attributes:
        enabled: True if some check remembers anything.
        width: Words of a slot.
        slots: (s * width,) int64.
        index: (k,) int32, the slot of each symbol code, -1 none.
        counts: (3,) int64: slots in use, then what the kernel counts.
    """

    def __init__(self, checks: Flaw, window: int, ttl_ns: int, symbols: SymbolTable) -> None:
        from market_data_pipeline.kernels.quality import FIXED, SLOT_CODE, SLOT_REACHED

        self.enabled = bool(checks & _OF_SYMBOLS)
        self.width = FIXED + 4 * window
        self.slots = np.empty(_LEAST_SLOTS * self.width, np.int64)
        self.index = np.full(_LEAST_SLOTS, -1, np.int32)
        self.counts = np.array([0, 0, TIME_MIN], np.int64)
        self._code, self._reached = SLOT_CODE, SLOT_REACHED
        self._ttl = ttl_ns
        self._symbols = symbols
        self._scalars = {"checks": int(checks & _OF_SYMBOLS), "window": window}

    def admit(self, codes: int) -> None:
        """Make room in the index for so many symbol codes."""
        if len(self.index) < codes:
            index = np.full(max(codes, 2 * len(self.index)), -1, np.int32)
            index[: len(self.index)] = self.index
            self.index = index

    def make_room(self) -> None:
        """Drop the symbols that are forgotten; double the slots if half are still needed."""
        live = self._live().copy()
        slots = max(_LEAST_SLOTS, 1 << (2 * len(live)).bit_length())
        if slots * self.width != len(self.slots):
            self.slots = np.empty(slots * self.width, np.int64)
        self._fill(live)

    def snapshot(self) -> Snapshot:
        """Return the symbols that are not forgotten, by name."""
        live = self._live()
        if not len(live):
            return Snapshot()
        codes = live[:, self._code].astype(np.int32)
        names = self._symbols.texts(codes)
        keyed = {"symbol": names, "words": live.copy()}
        return Snapshot(self._symbols.key_groups(codes), keyed, self._scalars)

    def restore(self, snapshot: Snapshot) -> None:
        """Take over symbols.

        Raises:
            SnapshotError: If they were remembered for other checks.
        """
        if not snapshot.keyed:
            return
        if dict(snapshot.scalars) != self._scalars or set(snapshot.keyed) != _SAVED:
            msg = "the state is not one of `quality` with these checks and this window"
            raise SnapshotError(msg)
        words = snapshot.keyed["words"].copy()
        codes = self._symbols.encode_texts(snapshot.keyed["symbol"])
        words[:, self._code] = codes
        self.admit(len(self._symbols))
        slots = max(_LEAST_SLOTS, 1 << (2 * len(words)).bit_length())
        self.slots = np.empty(slots * self.width, np.int64)
        self._fill(words)

    def _live(self) -> npt.NDArray[np.int64]:
        used = int(self.counts[0])
        words = self.slots[: used * self.width].reshape(used, self.width)
        watermark, reached = self.counts[2], words[:, self._reached]
        # The difference of two times may need all 64 bits.
        passed = (watermark - reached).view(np.uint64)
        live: npt.NDArray[np.int64] = words[
            (watermark < reached) | (passed < np.uint64(self._ttl))
        ]
        return live

    def _fill(self, words: npt.NDArray[np.int64]) -> None:
        used = len(words)
        self.slots[: used * self.width] = words.reshape(-1)
        self.index[:] = -1
        self.index[words[:, self._code]] = np.arange(used, dtype=np.int32)
        self.counts[0] = used
