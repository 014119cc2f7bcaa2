"""Any source, over a bad line, with the truth of what went wrong."""

from __future__ import annotations

__all__ = ("ChaosSource",)

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Final, TypeAlias

from pydantic import Field, PositiveInt

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.component import component, type_name_of
from market_data_pipeline.dag.epochs import Position
from market_data_pipeline.dag.messages import Watermark
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext, SourceItem, SourceNode, SourceReader
from market_data_pipeline.durations import Duration, duration_ns
from market_data_pipeline.errors import CheckpointError, ConfigError
from market_data_pipeline.records import Schema
from market_data_pipeline.source.disturbance import LOST, Disturbance, Disturbed, Odds
from market_data_pipeline.source.progress import OnOutage
from market_data_pipeline.source.rewinding import Standing

Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]

_PORTS: Final = {"out", "rejected"}


@component("chaos")
class ChaosSource:
    """Disturb another source, and write down what was done.

    Rows are dropped, doubled, moved, delayed and misdated, and the line is cut, by chance
    but the same at every run: what becomes of a row depends on the seed and on its number.
    The output `truth` has a row for each row to which something was done: `kind` is the
    setting's name, `ts_event` and `symbol` are the row's own, `row` is its number from 1.
    So what finds such rows can be scored by precision and recall. A row has one fate at
    most. Watermarks stay those of the other source, so a delayed row is late.

    Backpressure: waits; holds the rows that are to come later, a few plus those delayed.

    Delivery: every row that is not dropped or cut off, each time the source is opened.

    Attributes:
        of: The source to disturb; in YAML a mapping `{source: ..., ...}`.
        seed: Which of all outcomes it is.
        drop: Probability that a row is lost.
        duplicate: Probability that a row comes twice.
        reorder: Probability that a row comes after some that follow it.
        delay: Probability that a row comes late in event time.
        skew: Probability that a row's event time is wrong.
        disconnect: Probability of an outage at a row; rows are lost until it is over, and
            the feed is told to be `disconnected`, then `live`.
        places: Most rows by which a row of `reorder`, or a copy, is moved back.
        delay_by: How much event time later a row of `delay` comes.
        skew_by: What is added to the event time of a row of `skew`.
        outage: How much event time an outage takes.
        on_outage: While the feed is disconnected, `hold` lets others wait for its watermark;
            `close` lets them go on as if it were idle.
    """

    of: SourceNode
    seed: int = 0
    drop: Share = 0.0
    duplicate: Share = 0.0
    reorder: Share = 0.0
    delay: Share = 0.0
    skew: Share = 0.0
    disconnect: Share = 0.0
    places: PositiveInt = 5
    delay_by: Duration = "2s"
    skew_by: Duration = "1h"
    outage: Duration = "10s"
    on_outage: OnOutage = "hold"

    type_name: ClassVar[str]
    outputs: ClassVar[tuple[str, ...]] = ("out", "truth", "rejected")
    side_outputs: ClassVar[tuple[str, ...]] = ("truth", "rejected")

    def __post_init__(self) -> None:
        """Refuse what cannot be done.

        Raises:
            ConfigError: If the fates of a row are more than all, or the other source has
                outputs that would be lost.
        """
        total = sum(self._shares())
        if total > 1:
            msg = f"`drop`, `duplicate`, `reorder`, `delay`, `skew` must not exceed 1, was {total}"
            raise ConfigError(msg, parameter="drop")
        more = sorted({*self.of.outputs} - _PORTS)
        if more:
            ports = ", ".join(f"`{port}`" for port in more)
            msg = f"a source with the output {ports} cannot be disturbed; it would be lost"
            raise ConfigError(msg, parameter="of")

    def _shares(self) -> tuple[float, float, float, float, float]:
        return self.drop, self.duplicate, self.reorder, self.delay, self.skew

    def schema(self) -> Schema | None:
        """Return the columns of the other source.

        Raises:
            InputError: If its input is missing or cannot be read.
        """
        return self.of.schema()

    async def open(self, context: NodeContext) -> _ChaosReader:
        """Open the other source.

        Raises:
            InputError: If its input is missing or cannot be read.
        """
        columns = None if context.columns is None else context.columns | {"symbol"}
        # Rows that are still to come are not counted, so the other source has an account
        # of its own.
        account = Account(f"{context.node}, {type_name_of(self.of)}")
        reader = await self.of.open(
            replace(context, account=account, columns=columns, position=None)
        )
        odds = Odds(
            seed=self.seed,
            shares=self._shares(),
            cuts=self.disconnect,
            places=self.places,
            delay=duration_ns(self.delay_by),
            skew=duration_ns(self.skew_by),
            outage=duration_ns(self.outage),
            leaves_out=self.on_outage == "close",
        )
        disturbance = Disturbance(odds, context.symbols)
        chaos = _ChaosReader(reader, account, disturbance, context)
        if context.position is not None:
            await chaos.go_to(context.position)
        return chaos


class _ChaosReader:
    def __init__(
        self, reader: SourceReader, theirs: Account, disturbance: Disturbance, context: NodeContext
    ) -> None:
        self.schema = reader.schema
        self._reader = reader
        self._theirs = theirs
        self._disturbance = disturbance
        self._account = context.account
        self._ended = False
        self._played = Standing()
        self._left: list[tuple[str, SourceItem]] = []

    def position(self) -> Position:
        """Return how much of the other source was played: what is held follows from it."""
        return {**self._played.position(), "ended": self._ended}

    async def go_to(self, position: Position) -> None:
        """Play the other source up to a position; what comes of it was given before.

        Raises:
            CheckpointError: If the other source ends before that.
            InputError: If its input cannot be read on.
        """
        goal = Standing(rows=position["rows"], told=position["told"])
        known, self._account = self._account, Account(self._account.node)
        while not self._left and (self._played.rows, self._played.told) != (goal.rows, goal.told):
            given = await self._reader.read()
            if given is None:
                msg = "the input ends before the place where the checkpoint was taken"
                raise CheckpointError(msg)
            for port, item in given:
                before, after = self._parted(port, item, goal)
                self._play(before)
                self._left += after
        if position["ended"]:
            await self.read()
        self._account = known
        self._theirs.reasons.clear()

    def _parted(
        self, port: str, item: SourceItem, goal: Standing
    ) -> tuple[list[tuple[str, SourceItem]], list[tuple[str, SourceItem]]]:
        """Return what of an item lies before a position, and what after it."""
        if port != "out":
            return [(port, item)], []
        if not isinstance(item, Batch):
            is_before = self._played.told < goal.told
            return ([(port, item)], []) if is_before else ([], [(port, item)])
        rows = min(goal.rows - self._played.rows, len(item))
        parts = (item.slice(0, rows), item.slice(rows, len(item)))
        before: list[tuple[str, SourceItem]] = [(port, parts[0])] if len(parts[0]) else []
        after: list[tuple[str, SourceItem]] = [(port, parts[1])] if len(parts[1]) else []
        return before, after

    async def read(self) -> Sequence[tuple[str, SourceItem]] | None:
        """Return what comes of what the other source gives next.

        Raises:
            InputError: If its input cannot be read on.
        """
        if self._left:
            left, self._left = self._left, []
            return self._play(left)
        if self._ended:
            return None
        given = await self._reader.read()
        self._take_over()
        if given is None:
            self._ended = True
            rest = self._disturbance.finish()
            return None if rest is None else self._counted(rest)
        return self._play(given)

    def _play(self, given: Sequence[tuple[str, SourceItem]]) -> list[tuple[str, SourceItem]]:
        """Return what comes of what the other source gave."""
        items: list[tuple[str, SourceItem]] = []
        for port, item in given:
            if port == "out" and isinstance(item, Batch):
                self._played.rows += len(item)
                if len(item):
                    items += self._counted(self._disturbance.take(item))
                continue
            self._played.told += port == "out"
            if isinstance(item, Watermark):
                if self._disturbance.is_cut:
                    continue
                self._disturbance.raise_to(item.time)
            items.append((port, item))
        return items

    def _take_over(self) -> None:
        """Count what the other source could not take."""
        for reason, rows in self._theirs.reasons.items():
            self._account.rows_in += rows
            self._account.add(reason, rows)
        self._theirs.reasons.clear()

    def _counted(self, done: Disturbed) -> list[tuple[str, SourceItem]]:
        account = self._account
        account.rows_in += done.arrived + sum(done.lost.values())
        account.created += done.copies
        for fate, reason in LOST.items():
            account.add(reason, done.lost[fate])
        items: list[tuple[str, SourceItem]] = [("out", item) for item in done.items]
        if done.truth is not None:
            items.append(("truth", done.truth))
        return items

    def fraction(self) -> float | None:
        """Return how much the other source has read."""
        return self._reader.fraction()

    async def close(self) -> None:
        """Close the other source."""
        await self._reader.close()
