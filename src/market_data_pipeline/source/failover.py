"""Several sources as one: another one is read when the one that is read fails."""

from __future__ import annotations

__all__ = ("FailoverSource",)

import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar, Final

import numpy as np
from pydantic import Field

from market_data_pipeline.batch import TIME_MIN, Batch, Progress
from market_data_pipeline.dag.component import component, type_name_of
from market_data_pipeline.dag.messages import Status, Watermark
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext, SourceItem, SourceNode
from market_data_pipeline.durations import Duration, duration_ns
from market_data_pipeline.errors import ConfigError, SourceError
from market_data_pipeline.records import FeedState, Schema
from market_data_pipeline.redaction import redacted
from market_data_pipeline.source.routing import Lost, Routing, Strategy

_PORTS: Final = {"out", "rejected"}
_RETRYABLE: Final = (SourceError, OSError)
_log = logging.getLogger("market_data_pipeline.source")


@component("failover")
class FailoverSource:
    """Read the first of several sources that works, and another one when it fails.

    When the source that is read fails, the feed is told to be `disconnected`, and `live`
    with the first rows of the one that takes over. Watermarks never fall: rows of the next
    source that the last one has overtaken are late. Errors that are no source's, such as a
    bug, fail the run.

    Backpressure: waits.

    Delivery: rows that two sources both give come twice where one takes over from the
    other, and rows that neither gives are missing; `dedupe` behind it sorts out the former.

    Attributes:
        of: The sources, the preferred one first; in YAML a list of `{source: ..., ...}`.
            They must have the same columns.
        strategy: `failover` goes back to an earlier source once it works again, `first`
            stays; `round_robin` takes turns, `fastest` takes the one that answers first.
        retries: How often a source that keeps failing is tried again.
        fail_back: With `failover`, how long until an earlier source is tried again.
    """

    of: tuple[SourceNode, ...]
    strategy: Strategy = "failover"
    retries: int = Field(default=3, ge=0)
    fail_back: Duration = "30s"

    type_name: ClassVar[str]
    outputs: ClassVar[tuple[str, ...]] = ("out", "rejected")
    side_outputs: ClassVar[tuple[str, ...]] = ("rejected",)

    def __post_init__(self) -> None:
        """Refuse what cannot be one source.

        Raises:
            ConfigError: If there is no source, or one has outputs that would be lost.
        """
        if not self.of:
            msg = "`of` needs at least one source"
            raise ConfigError(msg, parameter="of")
        for member in self.of:
            more = sorted({*member.outputs} - _PORTS)
            if more:
                ports = ", ".join(f"`{port}`" for port in more)
                msg = f"`of` has a source with the output {ports}, which would be lost"
                raise ConfigError(msg, parameter="of")

    def schema(self) -> Schema | None:
        """Return the columns of the sources, of the first that can be looked at.

        Raises:
            InputError: If none can be looked at.
        """
        failed: Exception | None = None
        for member in self.of:
            try:
                return member.schema()
            except _RETRYABLE as err:
                failed = failed or err
        raise failed or SourceError("there is no source")

    async def open(self, context: NodeContext) -> _FailoverReader:
        """Begin; sources are opened as they are needed."""
        schema = self.schema()
        if schema is None:
            msg = f"`{context.node}` must know its columns before it runs, and its sources do not"
            raise ConfigError(msg, parameter="of")
        if context.columns is not None:
            schema = schema.only(context.columns | ({schema.time} if schema.time else set()))
        return _FailoverReader(self, context, schema)


class _FailoverReader:
    def __init__(self, source: FailoverSource, context: NodeContext, schema: Schema) -> None:
        self.schema = schema
        self._account = context.account
        self._node = context.node
        self._watermark = TIME_MIN
        self._is_lost = False
        self._names = [f"{n}, {type_name_of(member)}" for n, member in enumerate(source.of, 1)]
        members: list[Callable[[], AsyncGenerator[_Given, None]]] = [
            partial(_read, member, context, schema, name)
            for member, name in zip(source.of, self._names, strict=True)
        ]
        routing: Routing[_Given] = Routing(
            members,
            source.strategy,
            source.retries,
            fail_back_s=duration_ns(source.fail_back) / 1e9,
            retryable=_RETRYABLE,
            clock=context.clock,
        )
        self._items = routing.stream()

    async def read(self) -> Sequence[tuple[str, SourceItem]] | None:
        """Return what the source that is read gives next.

        Raises:
            SourceError: If all have failed as often as they may.
        """
        given = await anext(self._items, None)
        if given is None:
            return None
        if isinstance(given, Lost):
            self._is_lost = True
            _log.warning(
                "`%s` leaves source %s: %s",
                self._node,
                self._names[given.member],
                redacted(str(given.error)),
            )
            return self._told(FeedState.DISCONNECTED)
        items: list[tuple[str, SourceItem]] = []
        if self._is_lost:
            self._is_lost = False
            items += self._told(FeedState.LIVE)
        for reason, rows in given.reasons.items():
            self._account.rows_in += rows
            self._account.add(reason, rows)
        for port, item in given.items:
            items.append((port, self._own(item) if port == "out" else item))
        return items

    def _told(self, state: FeedState) -> list[tuple[str, SourceItem]]:
        # Before anything was heard there is no time at which it could be.
        return [("out", Status(state, self._watermark))] if self._watermark > TIME_MIN else []

    def _own(self, item: SourceItem) -> SourceItem:
        """Return an item with watermarks that do not fall behind those there were."""
        if isinstance(item, Watermark):
            self._watermark = max(self._watermark, item.time)
            return Watermark(self._watermark)
        if not isinstance(item, Batch):
            return item
        self._account.rows_in += len(item)
        progress = item.progress
        if progress is None or not len(item):
            return item
        before, self._watermark = self._watermark, max(self._watermark, progress.end)
        if progress.before >= before:
            return item
        marks = np.maximum(progress.watermarks(item.times), before)
        return item.with_progress(Progress(before, 0, self._watermark, marks))

    def fraction(self) -> float | None:
        """Return None: which sources will be read is not known."""
        return None

    async def close(self) -> None:
        """Close the source that is read."""
        await self._items.aclose()


class _Given:
    """What a source gave at once, and the rows it could not take."""

    def __init__(self, items: Sequence[tuple[str, SourceItem]], reasons: dict[str, int]) -> None:
        self.items = items
        self.reasons = reasons


async def _read(
    member: SourceNode, context: NodeContext, schema: Schema, what: str
) -> AsyncGenerator[_Given, None]:
    account = Account(f"{context.node}, {what}")
    reader = await member.open(replace(context, account=account, position=None))
    try:
        missing = [name for name in schema.names if name not in reader.schema]
        if missing:
            names = ", ".join(f"`{name}`" for name in missing)
            msg = f"source {what} of `{context.node}` lacks the columns {names}"
            raise ConfigError(msg, parameter="of")
        while (items := await reader.read()) is not None:
            fitted = [(port, _fitted(item, schema, port)) for port, item in items]
            yield _Given(fitted, dict(account.reasons))
            account.reasons.clear()
    finally:
        await reader.close()


def _fitted(item: SourceItem, schema: Schema, port: str) -> SourceItem:
    """Return an item with the columns of all sources, in their order."""
    if port != "out" or not isinstance(item, Batch) or item.schema == schema:
        return item
    columns = {name: item.columns[name] for name in schema.names}
    return Batch(schema, columns, item.symbols, item.progress)
