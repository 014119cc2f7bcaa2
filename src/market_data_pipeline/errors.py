"""Every error this package raises on purpose.

PipelineError
├─ ConfigError (ValueError)            a setting or spec that cannot run       .parameter
│   ├─ MissingDependencyError (ImportError)  an optional package is absent     .extra
│   └─ SpecError                       a pipeline file that is no graph        .problems
├─ GraphError                          a graph that cannot run                 .node
│   ├─ DuplicateNodeError
│   ├─ UnknownNodeError                                                        .hint
│   ├─ CycleError                                                              .path
│   ├─ UnconnectedNodeError
│   ├─ PortError
│   └─ SchemaError                     columns that do not fit
├─ ChannelError
│   ├─ ChannelClosedError              you closed this end
│   └─ BrokenChannelError              the other end is gone
├─ SourceError                         a source that failed
│   ├─ RetryableError                  it may work again, or another source does
│   └─ InputError                      a file or record that cannot be read    .place
│       ├─ MissingInputError (FileNotFoundError)
│       ├─ RecordError                 one bad row                             .reason
│       └─ ColumnError                 a column that is not there
├─ OperatorError                       an operator that failed
├─ BatcherError                        a batcher that failed
├─ PacingError                         a rate that cannot be kept
├─ SinkError                           a sink that failed
│   └─ OutputError                     an output that cannot be written        .path
│       └─ OutputExistsError
├─ SchemaValidationError               a record that does not fit its schema   .errors
├─ ArithmeticOverflowError             a sum left its range
├─ NodeError                           a node failed while running             .node
├─ LedgerError                         rows are missing from the account
├─ JobError                            what a runtime cannot do with a pipeline  .key
│   ├─ DuplicateJobError
│   ├─ UnknownJobError
│   ├─ TooManyJobsError
│   └─ JobStoppedError
├─ SnapshotError                       a state that cannot be restored
├─ CheckpointError                     a checkpoint that cannot be used        .path
│   ├─ CheckpointsInUseError           another run uses them
│   └─ CheckpointsUnreachableError     the store that has them fails
└─ DamagedLogError                     a log with a hole in it                 .path

`ConfigurationError` is another name of `ConfigError`.
"""

from __future__ import annotations

__all__ = (
    "ArithmeticOverflowError",
    "BatcherError",
    "BrokenChannelError",
    "ChannelClosedError",
    "ChannelError",
    "CheckpointError",
    "CheckpointsInUseError",
    "CheckpointsUnreachableError",
    "ColumnError",
    "ConfigError",
    "ConfigurationError",
    "CycleError",
    "DamagedLogError",
    "DuplicateJobError",
    "DuplicateNodeError",
    "GraphError",
    "InputError",
    "JobError",
    "JobStoppedError",
    "LedgerError",
    "MissingDependencyError",
    "MissingInputError",
    "NodeError",
    "OperatorError",
    "OutputError",
    "OutputExistsError",
    "PacingError",
    "PipelineError",
    "PortError",
    "Problem",
    "RecordError",
    "RetryableError",
    "SchemaError",
    "SchemaValidationError",
    "SinkError",
    "SnapshotError",
    "SourceError",
    "SpecError",
    "TooManyJobsError",
    "UnconnectedNodeError",
    "UnknownJobError",
    "UnknownNodeError",
    "nearest",
)

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint that names the known word closest to `word`, or an empty string."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean `{found[0]}`?" if found else ""


class PipelineError(Exception):
    """Root of every error raised on purpose."""


class ConfigError(PipelineError, ValueError):
    """Raised when a setting or a spec cannot run.

    Attributes:
        parameter: Name of the setting at fault, or None.
    """

    def __init__(self, message: str, *, parameter: str | None = None) -> None:
        super().__init__(message)
        self.parameter = parameter


ConfigurationError = ConfigError


class MissingDependencyError(ConfigError, ImportError):
    """Raised on first use of a feature whose optional package is not installed.

    Attributes:
        package: The import that failed.
        extra: The extra of this distribution that brings it.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"`{package}` is not installed; "
            f"install it with `pip install 'market-data-pipeline[{extra}]'`"
        )
        self.package = package
        self.extra = extra


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a pipeline file.

    Attributes:
        message: What was expected and what was found.
        file: The file, or another name of the text.
        line: Line, from 1.
        column: Column in characters, from 1.
        excerpt: The line with a mark under the column; empty if there is none.
    """

    message: str
    file: str
    line: int
    column: int
    excerpt: str = ""

    def __str__(self) -> str:
        text = f"{self.file}:{self.line}:{self.column}: {self.message}"
        return f"{text}\n{self.excerpt}" if self.excerpt else text


class SpecError(ConfigError):
    """Raised when a pipeline file cannot be read as a graph; it tells all that is wrong.

    Attributes:
        problems: What is wrong, at least one, in the order of the file.
        file: The file of the first problem.
        line: Its line, from 1.
        column: Its column in characters, from 1.
    """

    def __init__(self, problems: Sequence[Problem], *, further: int = 0) -> None:
        lines = [str(problem) for problem in problems]
        if further:
            lines.append(f"and {further:,} more problems")
        super().__init__("\n".join(lines))
        self.problems = tuple(problems)
        first = self.problems[0]
        self.file, self.line, self.column = first.file, first.line, first.column


class GraphError(PipelineError):
    """Raised when a graph cannot run.

    Attributes:
        node: Name of the node at fault, or None.
    """

    def __init__(self, message: str, *, node: str | None = None) -> None:
        super().__init__(message)
        self.node = node


class DuplicateNodeError(GraphError):
    """Raised when two nodes have one name."""


class UnknownNodeError(GraphError):
    """Raised when an edge names a node that is not there."""

    def __init__(self, name: str, known: Iterable[str], *, node: str | None = None) -> None:
        known = sorted(known)
        where = f"node `{node}` reads from" if node else "there is no node"
        what = f"`{name}`, which is not a node" if node else f"`{name}`"
        names = ", ".join(f"`{k}`" for k in known) or "none"
        super().__init__(f"{where} {what}{nearest(name, known)} (nodes: {names})", node=node)
        self.name = name


class CycleError(GraphError):
    """Raised when data would flow in a circle.

    Attributes:
        path: Node names along the circle; the first is also the last.
    """

    def __init__(self, path: list[str]) -> None:
        super().__init__("the graph has a cycle: " + " -> ".join(path), node=path[0])
        self.path = path


class UnconnectedNodeError(GraphError):
    """Raised when a node has no input, or nobody reads its output."""


class PortError(GraphError):
    """Raised when an edge names an output or input that the node does not have."""


class SchemaError(GraphError):
    """Raised when a node needs a column that its input does not have."""


class ChannelError(PipelineError):
    """Root of the errors of channels."""


class ChannelClosedError(ChannelError):
    """Raised when a channel is used after this end of it was closed."""


class BrokenChannelError(ChannelError):
    """Raised when the other end of a channel is gone."""


class SourceError(PipelineError):
    """Raised when a source fails."""


class RetryableError(SourceError):
    """Raised when a source fails in a way that trying again, or another source, may cure."""


class InputError(SourceError):
    """Raised when an input cannot be read.

    Attributes:
        place: File, and row or member where known.
    """

    def __init__(self, message: str, *, place: str | None = None) -> None:
        super().__init__(f"{place}: {message}" if place else message)
        self.place = place


class MissingInputError(InputError, FileNotFoundError):
    """Raised when an input path or pattern matches no file."""


class RecordError(InputError):
    """Raised in strict mode for the first row that cannot be taken.

    Attributes:
        reason: One word for the kind of defect, as in the rejected output.
    """

    def __init__(self, message: str, *, reason: str, place: str | None = None) -> None:
        super().__init__(message, place=place)
        self.reason = reason


class ColumnError(InputError):
    """Raised when an input lacks a column, or has one of a type that cannot be taken."""


class OperatorError(PipelineError):
    """Raised when an operator fails."""


class BatcherError(PipelineError):
    """Raised when a batcher fails."""


class PacingError(PipelineError):
    """Raised when a rate cannot be kept."""


class SinkError(PipelineError):
    """Raised when a sink fails."""


class OutputError(SinkError):
    """Raised when an output cannot be written.

    Attributes:
        path: The output at fault.
    """

    def __init__(self, message: str, *, path: str | None = None) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path


class OutputExistsError(OutputError):
    """Raised when an output exists and may not be replaced."""


class ArithmeticOverflowError(PipelineError, OverflowError):
    """Raised when a sum or product leaves the range of its type."""


class NodeError(PipelineError):
    """Raised when a node's code fails while the graph runs; the cause is `__cause__`.

    Attributes:
        node: Name of the node.
    """

    def __init__(self, node: str, cause: BaseException) -> None:
        super().__init__(f"node `{node}` failed: {type(cause).__name__}: {cause}")
        self.node = node


class LedgerError(PipelineError):
    """Raised when the rows that went into a node are not all accounted for."""


class JobError(PipelineError):
    """Raised when a runtime cannot do with a pipeline what it is asked to.

    Attributes:
        key: What the pipeline is called in the runtime.
    """

    def __init__(self, message: str, *, key: str) -> None:
        super().__init__(message)
        self.key = key


class DuplicateJobError(JobError):
    """Raised when a pipeline of this key is running already."""


class UnknownJobError(JobError):
    """Raised when a runtime has no pipeline of this key."""

    def __init__(self, key: str, known: Iterable[str]) -> None:
        known = sorted(known)
        shown = key if key.isprintable() and len(key) <= 60 else ascii(key[:60])
        names = ", ".join(f"`{k}`" for k in known[:20]) or "none"
        more = f" and {len(known) - 20} more" if len(known) > 20 else ""
        hint = nearest(key[:200], known)
        msg = f"there is no pipeline `{shown}`{hint} (pipelines: {names}{more})"
        super().__init__(msg, key=key)


class TooManyJobsError(JobError):
    """Raised when as many pipelines run as may run at once."""


class JobStoppedError(JobError):
    """Raised when a pipeline that is waited for was stopped without being drained."""


class SnapshotError(PipelineError):
    """Raised when a state cannot be taken or restored."""


class CheckpointError(PipelineError):
    """Raised when a checkpoint cannot be written, found, trusted or used.

    Attributes:
        path: The checkpoint or its folder.
    """

    def __init__(self, message: str, *, path: str | None = None) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path


class CheckpointsInUseError(CheckpointError):
    """Raised when another run uses the checkpoints, or has taken them over."""


class CheckpointsUnreachableError(CheckpointError):
    """Raised when the store that has the checkpoints fails; they may be sound."""


class DamagedLogError(PipelineError):
    """Raised when records of a log are damaged or gone that were safe before.

    Attributes:
        path: The segment at fault.
        offset: Byte of it from which on it cannot be read.
    """

    def __init__(self, message: str, *, path: str, offset: int = 0) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.offset = offset


class SchemaValidationError(PipelineError):
    """Raised when a record does not fit the schema it was checked against.

    Attributes:
        schema_name: Name of the schema.
        errors: What does not fit, one text each.
        track: Which edition of the schema was asked for.
        enforcement_mode: `strict` or `warn`.
    """

    def __init__(
        self,
        message: str,
        schema_name: str,
        errors: Sequence[str],
        track: str,
        enforcement_mode: str = "strict",
    ) -> None:
        super().__init__(message)
        self.schema_name = schema_name
        self.errors = list(errors)
        self.track = track
        self.enforcement_mode = enforcement_mode
