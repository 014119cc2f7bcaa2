"""What a source gave, as records of a log, and back."""

from __future__ import annotations

__all__ = ("Decoder", "Encoder", "Step")

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import pyarrow as pa

from market_data_pipeline import wire
from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.messages import Idle, Status, Watermark
from market_data_pipeline.dag.nodes import SourceItem
from market_data_pipeline.errors import DamagedLogError
from market_data_pipeline.records import Schema
from market_data_pipeline.symbols import SymbolTable

Item: TypeAlias = tuple[str, SourceItem]

_LENGTH_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class Step:
    """What one read gave.

    Attributes:
        items: By port, in order.
        reasons: Rows that ended in the source, by reason; rejected rows are among the items.
    """

    items: Sequence[Item]
    reasons: Mapping[str, int] = field(default_factory=dict)


class Encoder:
    """Makes one record of a step: its layout as JSON, then its rows as Arrow.

    Every record can be read without the ones before it.
    """

    def encode(self, step: Step) -> bytes:
        """Return a step as bytes."""
        layout: list[list[Any]] = []
        parts: list[bytes] = []
        for port, item in step.items:
            if isinstance(item, Batch):
                rows = wire.to_arrow(item)
                sink = pa.BufferOutputStream()
                with pa.ipc.new_stream(sink, rows.schema) as writer:
                    writer.write_batch(rows)
                parts.append(sink.getvalue().to_pybytes())
                layout.append([port, "rows", len(parts[-1])])
            elif isinstance(item, Status):
                layout.append([port, "status", item.state, item.time, item.key, item.until])
            elif isinstance(item, Watermark):
                layout.append([port, "watermark", item.time])
            else:
                layout.append([port, "idle"])
        head = json.dumps({"items": layout, "reasons": dict(step.reasons)}).encode()
        return b"".join([len(head).to_bytes(_LENGTH_BYTES, "little"), head, *parts])


class Decoder:
    """Makes steps of records.

    Args:
        symbols: The symbol table of the run.
        place: Name of the log, for messages.
    """

    def __init__(self, symbols: SymbolTable, place: str) -> None:
        self._symbols = symbols
        self._place = place
        self._schemas: dict[bytes, Schema] = {}

    def decode(self, number: int, record: bytes) -> Step:
        """Return a step.

        Raises:
            DamagedLogError: If the record is none of a journal.
        """
        try:
            length = int.from_bytes(record[:_LENGTH_BYTES], "little")
            at = _LENGTH_BYTES + length
            head = json.loads(record[_LENGTH_BYTES:at])
            items: list[Item] = []
            for port, word, *told in head["items"]:
                if word == "rows":
                    items.append((str(port), self._batch(record[at : at + told[0]])))
                    at += told[0]
                else:
                    items.append((str(port), _message(word, told)))
            return Step(items, {str(k): int(n) for k, n in head["reasons"].items()})
        except (KeyError, TypeError, ValueError, IndexError, pa.ArrowException) as err:
            msg = f"record {number} is none of a journal: {err}"
            raise DamagedLogError(msg, path=self._place) from err

    def _batch(self, data: bytes) -> Batch:
        with pa.ipc.open_stream(data) as reader:
            told = (reader.schema.metadata or {}).get(wire.SCHEMA_KEY, b"")
            schema = self._schemas.get(told)
            if schema is None:
                schema = self._schemas[told] = wire.schema_of(reader.schema)
            return wire.from_arrow(reader.read_next_batch(), self._symbols, schema)


def _message(word: str, told: Sequence[Any]) -> SourceItem:
    if word == "status":
        state, time, key, until = told
        return Status(state, time, key, until)
    if word == "watermark":
        return Watermark(int(told[0]))
    if word != "idle":
        msg = f"there is no message `{word}`"
        raise ValueError(msg)
    return Idle()
