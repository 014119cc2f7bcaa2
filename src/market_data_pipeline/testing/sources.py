"""The check that every source must pass."""

from __future__ import annotations

__all__ = ("check_source",)

import asyncio
import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any, Final

from market_data_pipeline.batch import TIME_MIN, Batch
from market_data_pipeline.dag.epochs import Position, RewindableReader
from market_data_pipeline.dag.messages import Watermark
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext, SourceNode
from market_data_pipeline.symbols import SymbolTable
from market_data_pipeline.testing.clock import ManualClock
from market_data_pipeline.testing.rows import Rows, rows_of
from market_data_pipeline.testing.telling import telling

_POSITIONS: Final = 12


def check_source(make: Callable[[], SourceNode]) -> None:
    """Check that a source is what the engine needs it to be.

    Its rows carry watermarks that never fall, each row is accounted for, and it gives
    nothing after its end. If it can be rewound, it is opened again where it stood after
    reads at the beginning, in between and at the end, by positions that were written as JSON
    and in runs in which symbols have other codes, and must give the rest: the same rows,
    watermarks and states, and the same account at the end.

    Args:
        make: Gives the component; called for each opening. Its input must end.

    Raises:
        AssertionError: If a check fails; says which.
    """
    asyncio.run(_check(make))


async def _check(make: Callable[[], SourceNode]) -> None:
    with telling("a read from begin to end"):
        whole = _Reading(make())
        await whole.read(None)
    stops = [place for place, position in enumerate(whole.positions) if position is not None]
    chosen = stops if len(stops) <= _POSITIONS else stops[:: len(stops) // _POSITIONS]
    for place in {*chosen, *stops[-1:]}:
        with telling(f"a restart where it stood after read {place}"):
            begun = _Reading(make())
            await begun.read(place)
            rest = _Reading(make(), begun)
            await rest.read(None)
            for port in sorted({*whole.rows, *rest.rows}):
                wanted, found = whole.rows.get(port, []), rest.rows.get(port, [])
                if wanted != found:
                    same = [a == b for a, b in zip(wanted, found, strict=False)]
                    row = same.index(False) if False in same else len(same)
                    _fail(
                        f"`{port}` has {len(found)} rows for {len(wanted)}, "
                        f"row {row} is another: {found[row : row + 1]} for {wanted[row : row + 1]}"
                    )
            if whole.told != rest.told:
                _fail(f"it told {rest.told}, else {whole.told}")
            if whole.account != rest.account:
                _fail(f"its account is {rest.account}, else {whole.account}")


def _fail(message: str) -> None:
    raise AssertionError(message)


class _Reading:
    """A source that is read, and what it gave; with what another gave before it."""

    def __init__(self, component: SourceNode, before: _Reading | None = None) -> None:
        self._component = component
        self.rows: Rows = {} if before is None else before.rows
        self.told: list[tuple[str, Any]] = [] if before is None else before.told
        self.account: Account = Account("checked") if before is None else deepcopy(before.account)
        self.positions: list[Position | None] = []
        self.watermark: int = TIME_MIN if before is None else before.watermark
        self._symbols = SymbolTable([] if before is None else ["of another run"])
        self._position = None if before is None else before.positions[-1]

    async def read(self, reads: int | None) -> None:
        """Read so many times, or to the end."""
        reader = await self._component.open(
            NodeContext(
                "checked",
                self._symbols,
                self.account,
                ManualClock(),
                position=self._position,
            )
        )
        try:
            self._note(reader)
            while reads is None or len(self.positions) <= reads:
                given = await reader.read()
                if given is None:
                    self._note(reader)
                    break
                for port, item in given:
                    self._take(port, item)
                self._note(reader)
        finally:
            await reader.close()
        if reads is None and self.account.unaccounted:
            _fail(f"rows are missing: {self.account}")

    def _note(self, reader: object) -> None:
        position = reader.position() if isinstance(reader, RewindableReader) else None
        self.positions.append(None if position is None else json.loads(json.dumps(position)))

    def _take(self, port: str, item: Any) -> None:
        if port not in self._component.outputs:
            _fail(f"`{port}` is not among the outputs")
        if not isinstance(item, Batch):
            mark = item.time if isinstance(item, Watermark) else TIME_MIN
            self.told.append((port, item))
        else:
            mark = TIME_MIN
            if port not in self._component.side_outputs:
                self.account.rows_out += len(item)
                if item.progress is None:
                    _fail(f"rows on `{port}` carry no watermark")
                mark = item.watermark
            self.rows.setdefault(port, []).extend(rows_of(item))
        if TIME_MIN < mark < self.watermark:
            _fail(f"the watermark fell from {self.watermark} to {mark}")
        self.watermark = max(self.watermark, mark)
