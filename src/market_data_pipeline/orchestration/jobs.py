"""What a runtime tells of the pipelines it runs, and the names they may have."""

from __future__ import annotations

__all__ = ("JobKind", "JobState", "JobStatus", "RuntimeHealth", "checked_key")

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from market_data_pipeline.dag.runtime import Run
from market_data_pipeline.errors import ConfigError

JobKind: TypeAlias = Literal["dag", "pipeline"]
JobState: TypeAlias = Literal["starting", "running", "stopping", "finished", "failed", "stopped"]

_KEY_MAX: Final = 128
# Keys stand in URLs, logs, metrics and on pages: no slash, quote, bracket or line break.
_KEY: Final = re.compile(r"\w[\w .:+@-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A pipeline as it is at one moment.

    Attributes:
        key: What it is called in the runtime; unique.
        name: Name of the graph.
        kind: `dag`, or `pipeline` for one made from a version 0.8 spec.
        state: `stopped` is told to end before its sources did, `finished` is at its end.
        since_ns: Wall time since when it is in this state, nanoseconds since the epoch.
        error: Why it failed, without secrets; None if it did not.
        run: The graph as it runs or ran.
    """

    key: str
    name: str
    kind: JobKind
    state: JobState
    since_ns: int
    error: str | None = None
    run: Run | None = field(default=None, repr=False, compare=False)

    @property
    def is_over(self) -> bool:
        """True once nothing of it runs."""
        return self.state in {"finished", "failed", "stopped"}


@dataclass(frozen=True, slots=True)
class RuntimeHealth:
    """A runtime as a whole.

    Attributes:
        ready: Takes new pipelines.
        live: Does its work; a runtime that is not will not recover.
        jobs: How many pipelines are in each state.
        problems: What somebody should look at, one sentence each.
    """

    ready: bool
    live: bool
    jobs: Mapping[JobState, int]
    problems: tuple[str, ...] = ()


def checked_key(key: object, *, of: str = "key") -> str:
    """Return a key, if it can be one.

    Args:
        key: The key.
        of: What it is, for the message.

    Raises:
        ConfigError: If it is not 1 to 128 letters, digits and `_ . : + @ -` or spaces,
            beginning with a letter or digit.
    """
    if (
        not isinstance(key, str)
        or len(key) > _KEY_MAX
        or not _KEY.fullmatch(key)
        or ".." in key
        or key != key.strip()
    ):
        shown = ascii(key)
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        msg = (
            f"`{of}` must be 1 to {_KEY_MAX} letters, digits, spaces or `_.:+@-`, begin with a "
            f"letter or digit and hold no two dots in a row, was {shown}"
        )
        raise ConfigError(msg, parameter=of)
    return key
