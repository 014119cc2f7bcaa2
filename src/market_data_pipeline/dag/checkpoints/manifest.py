"""The manifest: what a checkpoint consists of. Its rename decides that there is one."""

from __future__ import annotations

__all__ = ("FORMAT", "Manifest", "NodeRecord", "SinkRecord", "Staged", "decode", "encode")

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from market_data_pipeline.dag.checkpoints.description import NodeDescription
from market_data_pipeline.dag.checkpoints.files import FileRecord
from market_data_pipeline.dag.epochs import Delivery, Position
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.errors import CheckpointError

FORMAT: Final = 1
"""Version of the format; a folder that has a later one is refused."""


@dataclass(frozen=True, slots=True)
class Staged:
    """What a sink has staged and not committed, as far as is known.

    Attributes:
        epoch: Its epoch.
        folder: Folder, from the root of the checkpoints.
        files: Every file in it, by its path from there.
    """

    epoch: int
    folder: str
    files: Mapping[str, FileRecord]


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """What is kept of a node.

    Attributes:
        ended: True if it had come to the end of its input.
        account: Its account.
        progress: What the engine knew of it and its inputs.
        position: Where a source stood; None for other nodes.
        state: Name of the file with an operator's state; None without.
        held: Name of the file with rows read ahead; None without.
    """

    ended: bool
    account: Account
    progress: Mapping[str, Any] = field(default_factory=dict)
    position: Position | None = None
    state: str | None = None
    held: str | None = None


@dataclass(frozen=True, slots=True)
class SinkRecord:
    """What is kept of a sink.

    Attributes:
        delivery: What it promises.
        committed: Last epoch of this lineage it was known to have, 0 for none.
        staged: What it had not committed yet, in the order of epochs.
    """

    delivery: Delivery
    committed: int
    staged: tuple[Staged, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A checkpoint.

    Attributes:
        job: Name of the pipeline.
        lineage: Line of its life.
        ancestors: The lines it branched off from.
        epoch: The last epoch that is in it.
        taken_ns: Wall time, nanoseconds since the UNIX epoch.
        complete: True if the job had come to its end.
        gave_at_end: Rows that operators gave because the input had ended, by node.
        graph: The graph.
        graph_hash: Its hash.
        nodes: What is kept of each node.
        sinks: What is kept of each sink besides.
        files: The files in the folder of the checkpoint.
    """

    job: str
    lineage: str
    ancestors: tuple[str, ...]
    epoch: int
    taken_ns: int
    complete: bool
    gave_at_end: Mapping[str, int]
    graph: tuple[NodeDescription, ...]
    graph_hash: str
    nodes: Mapping[str, NodeRecord]
    sinks: Mapping[str, SinkRecord]
    files: Mapping[str, FileRecord]

    @property
    def size(self) -> int:
        """Bytes of the states in it."""
        return sum(record.size for record in self.files.values())


def encode(manifest: Manifest) -> bytes:
    """Return a manifest as JSON with its own hash."""
    plain = {"format": FORMAT, **dataclasses.asdict(manifest)}
    text = json.dumps(plain, separators=(",", ":"), sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f'{{"manifest":{text},\n"sha256":"{digest}"}}\n'.encode()


def decode(data: bytes, *, path: str) -> Manifest:
    """Return the manifest that was encoded.

    Raises:
        CheckpointError: If a byte of it has changed, or it is of a later format.
    """
    head, tail = b'{"manifest":', b'"}\n'
    body, mark, digest = data.removeprefix(head).removesuffix(tail).rpartition(b',\n"sha256":"')
    sound = data.startswith(head) and data.endswith(tail) and bool(mark)
    if not sound or hashlib.sha256(body).hexdigest().encode() != digest:
        msg = "it is damaged: it does not have the hash it was written with"
        raise CheckpointError(msg, path=path)
    plain = json.loads(body)
    version = plain.pop("format", None)
    if version != FORMAT:
        msg = f"it is of format {version}, and this version reads {FORMAT}"
        raise CheckpointError(msg, path=path)
    try:
        return _manifest(plain)
    except (KeyError, TypeError, AttributeError) as err:
        msg = f"it is no manifest: {err}"
        raise CheckpointError(msg, path=path) from err


def _manifest(plain: dict[str, Any]) -> Manifest:
    graph = [NodeDescription(**{**n, "inputs": tuple(n["inputs"])}) for n in plain["graph"]]
    nodes = {
        name: NodeRecord(**{**record, "account": Account(**record["account"])})
        for name, record in plain["nodes"].items()
    }
    sinks = {
        name: SinkRecord(
            record["delivery"],
            record["committed"],
            tuple(Staged(s["epoch"], s["folder"], _files(s["files"])) for s in record["staged"]),
        )
        for name, record in plain["sinks"].items()
    }
    files = _files(plain["files"])
    read = {"graph": tuple(graph), "nodes": nodes, "sinks": sinks, "files": files}
    return Manifest(**{**plain, **read, "ancestors": tuple(plain["ancestors"])})


def _files(plain: Mapping[str, Any]) -> dict[str, FileRecord]:
    return {name: FileRecord(**record) for name, record in plain.items()}
