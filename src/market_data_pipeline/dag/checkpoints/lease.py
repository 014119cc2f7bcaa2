"""Keeps a second run away from checkpoints in a store that has no locks."""

from __future__ import annotations

__all__ = ("LEASE_S", "RENEW_S", "Lease")

import json
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from threading import Event, Thread
from typing import Final

from market_data_pipeline.clock import Clock
from market_data_pipeline.dag.checkpoints.objects import Objects
from market_data_pipeline.dag.checkpoints.processes import ProcessId, is_gone, this_process
from market_data_pipeline.errors import CheckpointsInUseError

LEASE_S: Final = 30.0
"""How long a lease that is not renewed keeps others away."""
RENEW_S: Final = LEASE_S / 3
"""How often it is renewed: two renewals may fail."""

_NAME: Final = "LOCK"
# A process knows which of its own runs are over.
_HELD: Final[set[str]] = set()


@dataclass(frozen=True, slots=True)
class _Record:
    """What the object says: who has the lease, and how often it was renewed."""

    token: str
    process: ProcessId
    renewals: int = 0

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @staticmethod
    def decode(data: bytes) -> _Record | None:
        """Return what was encoded, None if it was not."""
        try:
            plain = json.loads(data)
            return _Record(**{**plain, "process": ProcessId(**plain["process"])})
        except (ValueError, TypeError, KeyError):
            return None

    def __str__(self) -> str:
        return f"process {self.process.pid} on `{self.process.host}`"


class Lease:
    """An object that says who uses the others, renewed while that lives.

    Whoever comes second looks at it until it has not changed for `LEASE_S` of its own clock,
    so clocks of two machines need not agree. It takes over at once if the process that had
    it is known to be gone. This keeps out whoever looks; it stops nobody who is suspended
    between `check` and a write, so what is decided is also created rather than replaced, and
    the sinks have turns of their own.

    Args:
        objects: Where it is.
        clock: What passes.
        place: What messages call the checkpoints.
    """

    def __init__(self, objects: Objects, clock: Clock, place: str) -> None:
        self._objects = objects
        self._place = place
        self._clock = clock
        self._own = _Record(secrets.token_hex(8), this_process())
        self._seen: bytes | None = None
        self._seen_at = 0.0
        self._renewed_at = 0.0
        self._is_ours = False
        self._over = Event()
        self._thread: Thread | None = None

    def claim(self) -> str | None:
        """Try to have the lease; return None once it is ours, else who may have it.

        To be called again and again until it is ours, or known not to be.

        Raises:
            CheckpointsInUseError: If another run has it, and is alive.
            OSError: If the store fails.
        """
        data = self._objects.read(_NAME)
        if data is None:
            return self._begin(is_vacant=True)
        found = _Record.decode(data)
        if found is not None and found.token == self._own.token:
            return self._begin(is_vacant=False)  # an error told of what was done all the same
        if found is not None and _is_over(found):
            return self._begin(is_vacant=False)
        who = _name(found)
        if self._seen is not None and self._seen != data:
            raise self._lost(who)
        if self._seen is None:
            self._seen, self._seen_at = data, self._clock.monotonic()
        if self._clock.monotonic() - self._seen_at >= LEASE_S:
            return self._begin(is_vacant=False)
        return who

    def _begin(self, *, is_vacant: bool) -> str | None:
        at = self._clock.monotonic()
        # Before it can be seen, or another run of this process would take it for one that is over.
        _HELD.add(self._own.token)
        try:
            if is_vacant:
                self._objects.create(_NAME, self._own.encode())
            else:
                self._objects.write(_NAME, self._own.encode())
        except FileExistsError:
            _HELD.discard(self._own.token)
            return "another run that has just begun"
        # Of several that come at once the last one stays.
        self._look()
        self._is_ours, self._renewed_at = True, at
        return None

    def keep(self) -> None:
        """Renew it from now on, in a thread, until it is released."""
        self._thread = Thread(target=self._keep, name="mdp-lease", daemon=True)
        self._thread.start()

    def _keep(self) -> None:
        while not self._over.wait(RENEW_S):
            # What fails is tried again, and whoever is about to write looks for itself.
            with suppress(OSError, CheckpointsInUseError):
                self.renew()

    def renew(self) -> None:
        """Tell others that we live.

        Raises:
            CheckpointsInUseError: If another run has taken it.
            OSError: If the store fails.
        """
        at = self._clock.monotonic()
        self._look()
        self._own = replace(self._own, renewals=self._own.renewals + 1)
        self._objects.write(_NAME, self._own.encode())
        self._renewed_at = at

    def check(self) -> None:
        """Do nothing if it is ours now.

        Raises:
            CheckpointsInUseError: If another run has taken it.
            OSError: If it cannot be known.
        """
        self._look()

    def check_if_due(self) -> None:
        """Do nothing if nobody can have taken it since the last look; else look.

        Raises:
            CheckpointsInUseError: If another run has taken it.
            OSError: If it cannot be known.
        """
        if self._clock.monotonic() - self._renewed_at >= LEASE_S / 2:
            self.renew()

    def release(self) -> None:
        """Let others have it, if it is ours."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        _HELD.discard(self._own.token)
        if self._is_ours:
            self._is_ours = False
            # A lease that cannot be deleted runs out.
            with suppress(OSError, CheckpointsInUseError):
                self.check()
                self._objects.delete([_NAME])

    def _look(self) -> None:
        data = self._objects.read(_NAME)
        if data is None:
            # Somebody deleted it to let another in; of those who come now one gets it.
            self._objects.create(_NAME, self._own.encode())
            return
        found = _Record.decode(data)
        if found is None or found.token != self._own.token:
            raise self._lost(_name(found))

    def _lost(self, who: str) -> CheckpointsInUseError:
        msg = (
            f"another run uses these checkpoints: {who}; stop it first, or give this one a `path`"
        )
        return CheckpointsInUseError(msg, path=self._place)


def _name(record: _Record | None) -> str:
    return "a run that cannot be told" if record is None else str(record)


def _is_over(record: _Record) -> bool:
    """Tell whether the run that had a lease is known to be over."""
    if record.process.space and record.process == this_process():
        return record.token not in _HELD
    return is_gone(record.process)
