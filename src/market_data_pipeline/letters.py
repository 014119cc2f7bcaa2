"""Dead letters: rows that could not be taken, kept in a log of their own with the reason.

A record of the log holds letters that came together, whole or not at all: four bytes length
of the head, the head as JSON, then the bodies one after another. The body of rows is an
Arrow stream, exactly as they were in memory; other bodies are bytes as they came.
"""

from __future__ import annotations

__all__ = (
    "Form",
    "Letter",
    "decode",
    "encode",
    "is_log",
    "letters_of",
    "mark_of",
    "read_letters",
    "rows_in",
)

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
import pyarrow as pa

from market_data_pipeline import wire
from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import DamagedLogError, MissingInputError
from market_data_pipeline.segment_log import LogReader
from market_data_pipeline.symbols import SymbolTable

Form: TypeAlias = Literal["rows", "json", "bytes"]
"""What a body is: rows of ours, lines of JSON, or whatever came."""

_LENGTH_BYTES: Final = 4
_PER_ROW: Final = ("reason", "place", "detail")
_TOLD: Final = ("node", "reason", "place", "detail")


@dataclass(frozen=True, slots=True)
class Letter:
    """Rows that one node could not take, for one reason.

    Attributes:
        node: Name of the node that kept them.
        reason: One word for why.
        time_ns: When they were kept, nanoseconds since the UNIX epoch.
        rows: How many there are.
        body: The rows.
        form: What the body is.
        place: Where they came from, as file and row; empty if that is not known.
        detail: What was found; empty if that is in the rows.
        number: Number of the record in the log.
        part: Which letter of the record it is.
    """

    node: str
    reason: str
    time_ns: int
    rows: int
    body: bytes
    form: Form = "rows"
    place: str = ""
    detail: str = ""
    number: int = -1
    part: int = 0

    @property
    def name(self) -> str:
        """The name by which it is asked for: `17`, or `17.2` where there are several."""
        return f"{self.number}.{self.part}" if self.part else str(self.number)


def letters_of(batch: Batch, node: str, reason: str, time_ns: int) -> list[Letter]:
    """Return rows as letters, one for each reason.

    Args:
        batch: The rows; where they have a column `reason`, it is theirs.
        node: Who keeps them.
        reason: Why, where the rows do not say.
        time_ns: When.
    """
    if not len(batch):
        return []
    # Watermarks are of the run that was, and rows may have no event time.
    batch = Batch(batch.schema, batch.columns, batch.symbols)
    if "reason" not in batch.schema or not isinstance(batch["reason"], pa.Array):
        return [_letter(batch, node, reason, time_ns)]
    reasons = np.array([str(word) for word in batch["reason"].to_pylist()])
    return [
        _letter(batch.take(reasons == word), node, str(word), time_ns)
        for word in dict.fromkeys(reasons.tolist())
    ]


def _letter(batch: Batch, node: str, reason: str, time_ns: int) -> Letter:
    rows = wire.to_arrow(batch)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_batch(rows)
    body = sink.getvalue().to_pybytes()
    place, detail = _common(batch, "place"), _common(batch, "detail")
    return Letter(node, reason, time_ns, len(batch), body, place=place, detail=detail)


def _common(batch: Batch, name: str) -> str:
    """Return what all rows have in a column of text, empty if they differ."""
    if name not in batch.schema or not isinstance(batch[name], pa.Array):
        return ""
    values = batch[name].unique().to_pylist()
    return str(values[0] or "") if len(values) == 1 else ""


def rows_in(letter: Letter, symbols: SymbolTable) -> Batch:
    """Return the rows of a letter of rows, without watermarks.

    Raises:
        DamagedLogError: If they are none.
    """
    try:
        with pa.ipc.open_stream(letter.body) as reader:
            batch = wire.from_arrow(reader.read_next_batch(), symbols)
    except (ValueError, KeyError, StopIteration, pa.ArrowException) as err:
        msg = f"letter {letter.name} holds no rows: {err}"
        raise DamagedLogError(msg, path="dead letters") from err
    return Batch(batch.schema, batch.columns, symbols)


def encode(letters: Sequence[Letter], mark: dict[str, Any] | None = None) -> bytes:
    """Return letters as one record.

    Args:
        letters: The letters.
        mark: Whose epoch they are, where there are epochs.
    """
    told = [
        {
            **{name: getattr(letter, name) for name in _TOLD},
            "time_ns": letter.time_ns,
            "rows": letter.rows,
            "form": letter.form,
            "bytes": len(letter.body),
        }
        for letter in letters
    ]
    head = json.dumps({"letters": told, "mark": mark}).encode()
    bodies = [letter.body for letter in letters]
    return b"".join([len(head).to_bytes(_LENGTH_BYTES, "little"), head, *bodies])


def decode(number: int, record: bytes, path: str) -> list[Letter]:
    """Return the letters of a record.

    Raises:
        DamagedLogError: If it is no record of letters.
    """
    try:
        head, at = _head(record)
        letters = []
        for part, told in enumerate(head["letters"]):
            letter = _opened(told, record, at)
            letters.append(replace(letter, number=number, part=part))
            at += len(letter.body)
    except (KeyError, TypeError, ValueError) as err:
        msg = f"record {number} holds no dead letters: {err}"
        raise DamagedLogError(msg, path=path) from err
    return letters


def _opened(told: dict[str, Any], record: bytes, at: int) -> Letter:
    stop, form = at + int(told["bytes"]), told["form"]
    if form not in get_args(Form) or stop > len(record):
        msg = f"there is no form `{form}`, or no body"
        raise ValueError(msg)
    return Letter(
        node=str(told["node"]),
        reason=str(told["reason"]),
        time_ns=int(told["time_ns"]),
        rows=int(told["rows"]),
        body=record[at:stop],
        form=form,
        place=str(told["place"]),
        detail=str(told["detail"]),
    )


def mark_of(number: int, record: bytes, path: str) -> dict[str, Any] | None:
    """Return whose epoch a record is, None where there was none.

    Raises:
        DamagedLogError: If it is no record of letters.
    """
    try:
        mark: dict[str, Any] | None = _head(record)[0]["mark"]
    except (KeyError, TypeError, ValueError) as err:
        msg = f"record {number} holds no dead letters: {err}"
        raise DamagedLogError(msg, path=path) from err
    return mark


def _head(record: bytes) -> tuple[dict[str, Any], int]:
    length = int.from_bytes(record[:_LENGTH_BYTES], "little")
    at = _LENGTH_BYTES + length
    return json.loads(record[_LENGTH_BYTES:at]), at


def read_letters(folder: Path) -> Iterator[Letter]:
    """Give the letters in a folder in the order in which they were kept.

    A torn tail, as a process that was killed leaves it, is left out.

    Raises:
        MissingInputError: If there is no such folder.
        DamagedLogError: If letters are damaged that were safe before.
    """
    if not is_log(folder):
        msg = "there are no dead letters here; give the folder of a `dead_letters` sink"
        raise MissingInputError(msg, place=str(folder))
    for number, record in LogReader(folder).read():
        yield from decode(number, record, str(folder))


def is_log(folder: Path) -> bool:
    """Tell whether a folder holds a log."""
    return folder.is_dir() and bool(LogReader(folder).segments())
