"""Drop rows that were there before, told by a key."""

from __future__ import annotations

__all__ = ("Dedupe", "DedupeOperator")

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.durations import Duration, duration_ns
from market_data_pipeline.errors import SchemaError, SnapshotError
from market_data_pipeline.operator.compaction import keep_rows
from market_data_pipeline.operator.watermarks import watermarks_of
from market_data_pipeline.records import Schema

_SAVED: Final = frozenset({"first", "second", "expires"})
_NO_KEYS: Final = dict.fromkeys(sorted(_SAVED), np.empty(0, np.int64))


def _checked_key(value: Any) -> Any:
    names = [value] if isinstance(value, str) else value
    if not names:
        msg = (
            "a key is needed, as in `[symbol, sequence]`; the content of a row is no key: two "
            "deals of one size at one price in one instant are equal and both real"
        )
        raise ValueError(msg)
    if isinstance(names, list | tuple) and len(set(names)) != len(names):
        msg = f"names a column twice: {', '.join(map(str, names))}"
        raise ValueError(msg)
    return names


def _checked_ttl(value: Any) -> Any:
    if duration_ns(value) <= 0:
        msg = f"must be positive, was {value}"
        raise ValueError(msg)
    return value


@component("dedupe")
class Dedupe:
    """Drop rows whose key was there before.

    A row is a duplicate iff a row with the same key was let through at event time t, and
    the watermark before this row is less than t + `ttl`. It does not matter how rows were
    cut into batches, and a duplicate does not lengthen the memory of its key. The first
    row of a key goes to `out`; the others go to `duplicate` and are counted.

    A key of one or two columns that are integers inside (symbols, numbers, prices, times)
    is compared exactly. Wider keys and texts are compared by a 128-bit fingerprint
    (MurmurHash3, seven bits of it the key group): that two of a billion different keys are
    taken for one has a probability below 1e-18.

    Backpressure: holds no rows; takes none while a channel behind it is full.

    Lateness: no row is too late to pass. A copy that comes once the watermark has reached
    the event time of the first plus `ttl` is not known as one.

    Delivery: the memory of keys is saved with a checkpoint, so that a restart neither
    lets a duplicate through nor drops a row that is none.

    Memory: for each key let through within `ttl`, 30 to 110 bytes where the last integer of
    the key counts up, 80 to 600 where it does not; up to 900 where such keys are fewer than
    16,384.

    Attributes:
        key: Columns that name a row, such as `[symbol, sequence]`.
        ttl: How long a key is remembered, in event time.
    """

    key: Annotated[list[str], BeforeValidator(_checked_key)] = Field(
        default_factory=list, validate_default=True
    )
    ttl: Annotated[Duration, AfterValidator(_checked_ttl)] = "1min"

    outputs: ClassVar[tuple[str, ...]] = ("out", "duplicate")
    side_outputs: ClassVar[tuple[str, ...]] = ("duplicate",)
    type_name: ClassVar[str]

    def output_schemas(self, schema: Schema) -> Mapping[str, Schema | None]:
        """Return the columns as they come.

        Raises:
            SchemaError: If the key or the event time is not there.
        """
        from market_data_pipeline.operator.keys import key_of

        key_of(schema, self.key, "dedupe")
        if not schema.time:
            msg = f"`dedupe` needs an event time, and {schema.name} rows have none"
            raise SchemaError(msg, node="dedupe")
        return {"out": schema, "duplicate": schema}

    def required_columns(self, wanted: frozenset[str] | None) -> frozenset[str] | None:
        """Return the columns wanted and those of the key."""
        return None if wanted is None else wanted.union(self.key)

    def build(self, context: NodeContext) -> DedupeOperator:
        """Make the running half."""
        return DedupeOperator(self, context)


class DedupeOperator:
    """The running half of `Dedupe`: a table of the keys alive."""

    def __init__(self, settings: Dedupe, context: NodeContext) -> None:
        self._names = tuple(settings.key)
        self._ttl = duration_ns(settings.ttl)
        self._context = context
        self._schema: Schema | None = None
        self._key: Any = None
        self._table: Any = None
        self._saved = Snapshot(
            keyed=_NO_KEYS,
            scalars={f"key.{name}": i for i, name in enumerate(self._names)},
        )
        self._keep = np.empty(1, np.bool_)

    def process(self, batch: Batch) -> Outputs:
        """Return the rows let through, and the duplicates."""
        rows = len(batch)
        if not rows:
            return ()
        if batch.schema is not self._schema:
            if batch.schema != self._schema:
                self._bind(batch.schema)
            self._schema = batch.schema
        duplicates = self._mark(batch)
        if not duplicates:
            return (("out", batch),)
        self._context.account.add("duplicate", duplicates)
        if duplicates == rows:
            return (("duplicate", batch),)
        keep = self._keep[:rows]
        out = ("out", keep_rows(batch, keep, rows - duplicates))
        if not self._context.is_read("duplicate"):
            return (out,)
        return (out, ("duplicate", keep_rows(batch, ~keep, duplicates)))

    def advance(self, watermark: int) -> Outputs:  # noqa: ARG002
        """Return nothing: no row is held."""
        return ()

    def finish(self) -> Outputs:
        """Return nothing: no row is held."""
        return ()

    def output_watermark(self, watermark: int) -> int:
        """Return the watermark as it came: no row is held back."""
        return watermark

    def snapshot(self) -> Snapshot:
        """Return the keys alive, with names in the place of symbol codes."""
        if self._key is None:
            return self._saved
        *halves, expires = self._table.keys()
        symbols = self._context.symbols
        first, second = self._key.saved(halves, symbols)
        keyed = {"first": first, "second": second, "expires": expires}
        return Snapshot(self._key.groups(halves, symbols), keyed, self._saved.scalars)

    def restore(self, snapshot: Snapshot) -> None:
        """Take over keys.

        Raises:
            SnapshotError: If they are not of this key.
        """
        if dict(snapshot.scalars) != self._saved.scalars or set(snapshot.keyed) != _SAVED:
            names = ", ".join(f"`{name.removeprefix('key.')}`" for name in snapshot.scalars)
            msg = f"the state is not one of `dedupe` with this key; it has {names or 'no key'}"
            raise SnapshotError(msg)
        # Symbols get their codes in this run when the columns are known, with the first rows.
        self._saved = snapshot

    def _bind(self, schema: Schema) -> None:
        from market_data_pipeline.operator.key_table import KeyTable
        from market_data_pipeline.operator.keys import key_of

        known, self._key = self._key, key_of(schema, self._names, self._context.node)
        if known is not None:
            return
        self._table = KeyTable(spread=self._key.hashed)
        saved = self._saved.keyed
        first, second = self._key.loaded(saved["first"], saved["second"], self._context.symbols)
        if len(first):
            self._table.load(first, second, np.ascontiguousarray(saved["expires"], np.int64))
        # The table has them; a second copy would stay for the life of the run.
        self._saved = Snapshot(keyed=_NO_KEYS, scalars=self._saved.scalars)

    def _mark(self, batch: Batch) -> int:
        """Fill `_keep` for the rows of a batch; return the number of duplicates."""
        rows = len(batch)
        if len(self._keep) < rows:
            self._keep = np.empty(rows, np.bool_)
        times = np.ascontiguousarray(batch.times)
        self._table.mark(
            self._key.halves(batch), times, watermarks_of(batch), self._ttl, self._keep
        )
        return int(self._table.duplicates)
