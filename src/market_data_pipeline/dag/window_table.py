"""The arrays of open windows and their slots: room for more of them, and their state."""

from __future__ import annotations

__all__ = ("WindowTable",)

from collections.abc import Mapping
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import TIME_MAX, TIME_MIN
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.dag.window_grid import WindowGrid
from market_data_pipeline.errors import SnapshotError
from market_data_pipeline.kernels import windows as layout
from market_data_pipeline.symbols import SymbolTable

Int32s: TypeAlias = npt.NDArray[np.int32]
Int64s: TypeAlias = npt.NDArray[np.int64]

_FIRST_WINDOWS: Final = 4
_FIRST_SLOTS: Final = 64
_CACHE_LINE: Final = 64


class WindowTable:
    """The arrays of open windows and of their slots, as `kernels.windows` lays them out.

    Kernels write into them; what is here makes room where one runs out. An array that
    grows is another one, so whoever gives them to a kernel reads them anew each time.

    Attributes:
        meta: (META,) int64, the numbers of the whole.
        windows: (w, TABLE) int64, the open windows.
        places: (2 w,) int32, where a window is, by its start.
        index: (w * META_KEYS,) int32, the slot of a key in a window.
        slots: (s * SLOT,) int64, the slots.
    """

    def __init__(
        self, grid: WindowGrid, symbols: SymbolTable, *, kind: int, step: int, mode: int
    ) -> None:
        """Make an empty table.

        Args:
            grid: Where windows start and end.
            symbols: Names of the keys.
            kind: What the kernel shall keep in a slot.
            step: How many slots it keeps for each key.
            mode: How revisions are given out, `MODE_*` of `kernels.windows`.
        """
        self._symbols = symbols
        self._step = step
        meta = self.meta = np.zeros(layout.META, np.int64)
        meta[layout.META_WIDTH] = grid.width
        meta[layout.META_ORIGIN] = grid.origin
        meta[layout.META_LATENESS] = grid.lateness
        meta[layout.META_MODE] = mode
        meta[layout.META_KIND] = kind
        meta[layout.META_STEP] = step
        meta[layout.META_TRIGGER] = TIME_MAX
        meta[layout.META_CURRENT_ROW] = -1
        meta[layout.META_FREE_SLOT] = -1
        meta[layout.META_RESUME] = -1
        meta[layout.META_HIGHEST] = TIME_MIN
        meta[layout.META_KEYS] = 64
        meta[layout.META_CALENDAR] = grid.sessions is not None
        self.windows: Int64s = np.full((_FIRST_WINDOWS, layout.TABLE), -1, np.int64)
        self.places: Int32s = np.full(2 * _FIRST_WINDOWS, -1, np.int32)
        self.index: Int32s = np.full(_FIRST_WINDOWS * 64, -1, np.int32)
        self.slots = _aligned_slots(_FIRST_SLOTS)

    # Room

    def make_keys(self) -> None:
        """See that every key has a place in the index."""
        keys = int(self.meta[layout.META_KEYS])
        needed = len(self._symbols)
        if needed <= keys:
            return
        wider = max(needed, 2 * keys)
        index = np.full((len(self.windows), wider), -1, np.int32)
        index[:, :keys] = self.index.reshape(len(self.windows), keys)
        self.index = index.reshape(-1)
        self.meta[layout.META_KEYS] = wider

    def double_slots(self) -> None:
        """Make room for twice as many slots."""
        self._grow_slots(2 * len(self.slots) // layout.SLOT)

    def _grow_slots(self, count: int) -> None:
        slots = _aligned_slots(count)
        slots[: len(self.slots)] = self.slots
        self.slots = slots

    def double_windows(self) -> None:
        """Make room for twice as many windows, and put the open ones in their new places."""
        keys = int(self.meta[layout.META_KEYS])
        self.windows = np.concatenate([self.windows, np.full_like(self.windows, -1)])
        self.index = np.concatenate([self.index, np.full_like(self.index, -1)])
        if len(self.index) != len(self.windows) * keys:
            msg = "the slot index and the window table are out of step"
            raise SnapshotError(msg)
        self.places = np.full(2 * len(self.windows), -1, np.int32)
        for row, start in enumerate(self.windows[:, layout.TABLE_START].tolist()):
            if self.windows[row, layout.TABLE_COUNT] >= 0:
                at = layout.place_of(start, len(self.places) - 1)
                while self.places[at] >= 0:
                    at = (at + 1) % len(self.places)
                self.places[at] = row

    # State

    def snapshot(self, scalars: Mapping[str, int]) -> Snapshot:
        """Return the slots, with what belongs to the operator as a whole."""
        windows: list[int] = []
        picked: list[int] = []
        live_rows = np.flatnonzero(self.windows[:, layout.TABLE_COUNT] >= 0)
        by_start = live_rows[np.argsort(self.windows[live_rows, layout.TABLE_START])]
        words_each = layout.SLOT * self._step
        slots = self.slots.reshape(-1, layout.SLOT)
        for row in by_start.tolist():
            slot = int(self.windows[row, layout.TABLE_FIRST])
            while slot >= 0:
                windows.append(row)
                picked.append(slot)
                slot = int(slots[slot, layout.SLOT_LINK] & 0xFFFFFFFF) - 1
        whole = self.slots.reshape(-1, words_each)
        words = whole[np.array(picked, np.int64) // self._step].copy()
        codes = (words[:, layout.SLOT_LINK] >> 32).astype(np.int32)
        words[:, layout.SLOT_LINK] = 0
        names = np.array([self._symbols.name(code) for code in codes.tolist()], np.str_)
        return Snapshot(
            key_groups=self._symbols.key_groups(codes),
            keyed={
                "symbol": names,
                "start": self.windows[windows, layout.TABLE_START],
                "end": self.windows[windows, layout.TABLE_END],
                "fired": self.windows[windows, layout.TABLE_FIRED],
                "words": words,
            },
            scalars=scalars,
        )

    def restore(self, snapshot: Snapshot) -> int:
        """Take over a snapshot while the table is empty; return the number of slots."""
        codes = self._symbols.encode_texts(snapshot.keyed["symbol"])
        keyed = [snapshot.keyed[name].tolist() for name in ("start", "end", "fired")]
        self.make_keys()
        rows: dict[int, int] = {}
        for start in keyed[0]:
            rows.setdefault(start, len(rows))
        while len(self.windows) < len(rows):
            self.double_windows()
        step = self._step
        if len(self.slots) < len(codes) * step * layout.SLOT:
            self._grow_slots(max(len(codes) * step, 2 * _FIRST_SLOTS))
        keys = int(self.meta[layout.META_KEYS])
        whole = self.slots.reshape(-1, layout.SLOT * step)
        whole[: len(codes)] = snapshot.keyed["words"]
        whole[: len(codes), layout.SLOT_LINK] = codes.astype(np.int64) << 32
        slots = self.slots.reshape(-1, layout.SLOT)
        filled: set[int] = set()
        for place, (start, end, fired, code) in enumerate(
            zip(*keyed, codes.tolist(), strict=True)
        ):
            row, slot = rows[start], place * step
            if row not in filled:
                filled.add(row)
                self.windows[row] = (start, slot, slot, 0, end, fired)
            else:
                slots[self.windows[row, layout.TABLE_LAST], layout.SLOT_LINK] += slot + 1
            self.windows[row, layout.TABLE_LAST] = slot
            self.windows[row, layout.TABLE_COUNT] += 1
            self.index[row * keys + code] = slot
        self.meta[layout.META_SLOTS_USED] = len(codes) * step
        self.meta[layout.META_WINDOWS] = len(rows)
        self.double_windows()
        # Whatever comes next works out when the first event is due.
        self.meta[layout.META_TRIGGER] = TIME_MIN
        return len(codes)


def _aligned_slots(count: int) -> Int64s:
    """Return zeros for slots whose halves are cache lines."""
    spare = _CACHE_LINE // 8
    memory = np.zeros(count * layout.SLOT + spare, np.int64)
    skip = (-memory.ctypes.data % _CACHE_LINE) // 8
    return memory[skip : skip + count * layout.SLOT]
