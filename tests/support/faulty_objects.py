"""A store in memory whose calls fail as planned, before or after they did what was asked."""

from __future__ import annotations

__all__ = ("FaultyFileSystem", "Plan", "begin")

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem


@dataclass
class Plan:
    """What is to go wrong.

    Attributes:
        at: Number of the call that fails, from 1; 0 for none.
        is_after: True if it fails though it did what was asked.
        onward: True if all calls after it fail too.
        calls: The calls that came, by name.
    """

    at: int = 0
    is_after: bool = False
    onward: bool = False
    calls: list[str] = field(default_factory=list)

    @property
    def has_failed(self) -> bool:
        """True if the call came that was to fail."""
        return 0 < self.at <= len(self.calls)

    @contextmanager
    def call(self, name: str) -> Iterator[None]:
        """Do what is asked in the body, and fail if it is its turn."""
        self.calls.append(name)
        number = len(self.calls)
        fails = number == self.at or (self.onward and 0 < self.at < number)
        if fails and not self.is_after:
            raise OSError(errno.EIO, "was to fail")
        yield
        if fails:
            raise OSError(errno.EIO, "was to fail")


class FaultyFileSystem(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A store in memory, `faulty://`, that counts calls and fails as planned."""

    protocol = "faulty"
    store: ClassVar[dict[str, Any]] = {}  # pyright: ignore[reportIncompatibleVariableOverride]
    pseudo_dirs: ClassVar[list[str]] = [""]
    plan: ClassVar[Plan] = Plan()

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return super()._strip_protocol(str(path).removeprefix("faulty://"))

    def cat_file(self, path: str, *args: Any, **kwargs: Any) -> Any:
        with self.plan.call("read"):
            return super().cat_file(path, *args, **kwargs)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        with self.plan.call("create" if mode == "create" else "write"):
            super().pipe_file(path, value, mode=mode, **kwargs)

    def put_file(self, *args: Any, **kwargs: Any) -> None:
        with self.plan.call("upload"):
            super().put_file(*args, **kwargs)

    def get_file(self, *args: Any, **kwargs: Any) -> None:
        with self.plan.call("download"):
            super().get_file(*args, **kwargs)

    def find(self, *args: Any, **kwargs: Any) -> Any:
        with self.plan.call("list"):
            return super().find(*args, **kwargs)

    def rm_file(self, path: str) -> None:
        with self.plan.call("delete"):
            super().rm_file(path)


def begin(plan: Plan, *, is_empty: bool = True) -> Plan:
    """Take a plan for all calls from now on, with an empty store or the one that is there."""
    fsspec.register_implementation("faulty", FaultyFileSystem, clobber=True)
    FaultyFileSystem.plan = plan
    if is_empty:
        FaultyFileSystem.store.clear()
        FaultyFileSystem.pseudo_dirs[:] = [""]
    return plan
