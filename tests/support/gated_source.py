"""A scripted source that goes as far as the test lets it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from market_data_pipeline.dag.epochs import Position
from market_data_pipeline.dag.nodes import NodeContext, SourceItem
from market_data_pipeline.source.scripted import ScriptedSource
from support.waiting import until

_TURNS = 300


@dataclass
class Gate:
    """How far a script is and may go.

    Attributes:
        closed: True if nothing is played that was not let.
        at: Items that were played.
        limit: Items that may be.
    """

    closed: bool = False
    at: int = 0
    limit: int = 0


class GatedSource(ScriptedSource):
    """As `scripted`; once its gate is closed it plays what it is let.

    Attributes:
        more: Items that were added to the script after the graph was made.
        gate: The gate.
    """

    def __init__(self, items: list[Any], *, out_of_order: str) -> None:
        super().__init__(items, out_of_order=out_of_order)
        object.__setattr__(self, "more", [])
        object.__setattr__(self, "gate", Gate())

    more: list[Any]
    gate: Gate

    async def let(self, items: int) -> None:
        """Let so many more items be played, and wait until what they caused is over."""
        self.gate.limit += items
        await until(lambda: self.gate.at >= self.gate.limit)
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    async def open(self, context: NodeContext) -> Any:
        source = ScriptedSource([*self.items, *self.more], out_of_order=self.out_of_order)
        return _GatedReader(await source.open(context), self.gate)


class _GatedReader:
    def __init__(self, reader: Any, gate: Gate) -> None:
        self._reader = reader
        self.schema = reader.schema
        self._gate = gate
        gate.at = gate.limit = reader.position()["items"]

    async def read(self) -> Sequence[tuple[str, SourceItem]] | None:
        await until(lambda: not self._gate.closed or self._gate.at < self._gate.limit)
        given: Sequence[tuple[str, SourceItem]] | None = await self._reader.read()
        self._gate.at = self._reader.position()["items"]
        return given

    def position(self) -> Position:
        position: Position = self._reader.position()
        return position

    def fraction(self) -> float | None:
        return None

    async def close(self) -> None:
        await self._reader.close()
