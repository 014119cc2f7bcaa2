"""Rows that could not be taken, given to a pipeline again."""

from __future__ import annotations

__all__ = ("DeadLetterSource",)

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.epochs import Position
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.durations import Duration, duration_ns
from market_data_pipeline.errors import InputError
from market_data_pipeline.letters import Letter, read_letters, rows_in
from market_data_pipeline.records import Schema
from market_data_pipeline.source.progress import FeedProgress
from market_data_pipeline.symbols import SymbolTable


@component("dead_letters")
class DeadLetterSource:
    """Give rows that a sink `dead_letters` kept, in the order in which they came.

    They have the columns they had. Rows without an event time, as those that a source
    rejected, and batches that a store refused are for `mdp dlq replay`.

    Backpressure: waits.

    Delivery: every row once, each time the source is opened.

    Attributes:
        path: The folder.
        reason: Only letters with this reason; None for all.
        node: Only letters of this node; None for all.
        out_of_order: The watermark is the highest event time seen minus this.
    """

    path: Path
    reason: str | None = None
    node: str | None = None
    out_of_order: Duration = "0s"

    outputs: ClassVar[tuple[str, ...]] = ("out",)
    side_outputs: ClassVar[tuple[str, ...]] = ()

    def schema(self) -> Schema:
        """Return the columns of the first rows.

        Raises:
            InputError: If there are none, or they have no event time.
            DamagedLogError: If letters are damaged that were safe before.
        """
        for letter in self._letters():
            return self._rows(letter, SymbolTable()).schema
        msg = "there are no such letters; `mdp dlq list` shows those there are"
        raise InputError(msg, place=str(self.path))

    async def open(self, context: NodeContext) -> _LetterReader:
        """Start from the first letter.

        Raises:
            InputError: If there are none, or they have no event time.
            DamagedLogError: If letters are damaged that were safe before.
        """
        schema = await asyncio.to_thread(self.schema)
        batches = (self._same(letter, schema, context.symbols) for letter in self._letters())
        return _LetterReader(schema, batches, duration_ns(self.out_of_order), context)

    def _letters(self) -> Iterator[Letter]:
        for letter in read_letters(self.path):
            if self.reason in {None, letter.reason} and self.node in {None, letter.node}:
                yield letter

    def _rows(self, letter: Letter, symbols: SymbolTable) -> Batch:
        rows = rows_in(letter, symbols) if letter.form == "rows" else None
        if rows is None or not rows.schema.time:
            msg = (
                f"letter {letter.name} (`{letter.reason}`) holds no rows with an event time; "
                f"choose others by `reason`, or write it to a file with `mdp dlq replay`"
            )
            raise InputError(msg, place=str(self.path))
        return rows

    def _same(self, letter: Letter, schema: Schema, symbols: SymbolTable) -> Batch:
        rows = self._rows(letter, symbols)
        if rows.schema != schema:
            msg = (
                f"letter {letter.name} holds rows of `{rows.schema.name}` with other columns than "
                f"those of `{schema.name}` before; choose by `reason` or `node`"
            )
            raise InputError(msg, place=str(self.path))
        return rows


class _LetterReader:
    def __init__(
        self, schema: Schema, batches: Iterator[Batch], bound: int, context: NodeContext
    ) -> None:
        self.schema = schema
        self._batches = batches
        self._progress = FeedProgress(bound)
        self._account = context.account
        self._given = 0
        self._dropping = int((context.position or {}).get("rows", 0))

    async def read(self) -> Outputs | None:
        """Return the next rows.

        Raises:
            InputError: If a letter holds other rows.
            DamagedLogError: If letters are damaged that were safe before.
        """
        batch = next(self._batches, None)
        if batch is None:
            return None
        batch = self._progress.stamped(batch)
        self._given += len(batch)
        dropped = min(self._dropping, len(batch))
        self._dropping -= dropped
        if dropped == len(batch):
            return ()
        if dropped:
            batch = batch.slice(dropped, len(batch))
        self._account.rows_in += len(batch)
        return (("out", batch),)

    def position(self) -> Position:
        """Return how many rows were given."""
        return {"rows": self._given}

    def fraction(self) -> float | None:
        """Return None: how many letters there are is not known before they are read."""
        return None

    async def close(self) -> None:
        """Do nothing: the folder is read, not held."""
