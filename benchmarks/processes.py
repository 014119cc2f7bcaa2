"""Peers as processes: started, told to run, given up when they take too long."""

from __future__ import annotations

__all__ = ("GaveUp", "PeerProcess", "run_python")

import json
import selectors
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.ticks import TickSet

ROOT = Path(__file__).parent.parent


class GaveUp(Exception):  # noqa: N818
    """A peer did not answer; the text says why."""


def run_python(*arguments: str) -> None:
    """Run a module of this interpreter to its end."""
    subprocess.run([sys.executable, "-m", *arguments], check=True, cwd=ROOT)


class PeerProcess:
    """One peer with one task."""

    def __init__(self, module: str, task: str, ticks: TickSet) -> None:
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "benchmarks.worker"),
                *(module, task, str(ticks.rows), str(ticks.symbols)),
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._said: list[str] = []

    def ready(self, seconds: float) -> None:
        """Wait until it is prepared.

        Raises:
            GaveUp: If it cannot run here, fails, or takes too long.
        """
        answer = self._answer(seconds)
        if "missing" in answer:
            raise GaveUp(answer["missing"])

    def run(self, seconds: float) -> dict[str, Any]:
        """Let it run once and return what it measured.

        Raises:
            GaveUp: If it fails or takes too long.
        """
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # its last words are read below
            self._process.stdin.write("run\n")
        return self._answer(seconds)

    def _answer(self, seconds: float) -> dict[str, Any]:
        """Return its next line, reading away what it says on standard error."""
        process = self._process
        assert process.stdout is not None
        assert process.stderr is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            selector.register(process.stderr, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select(seconds)]
                if not ready:
                    process.kill()
                    msg = f"did not finish in {seconds:.0f} s"
                    raise GaveUp(msg)
                if process.stdout in ready:
                    line = process.stdout.readline()
                    if not line:
                        self._said.append(process.stderr.read())
                        last = "".join(self._said).strip().splitlines()[-1:]
                        msg = f"failed: {''.join(last) or 'without a word'}"
                        raise GaveUp(msg)
                    answer: dict[str, Any] = json.loads(line)
                    return answer
                line = process.stderr.readline()
                self._said.append(line)
                if not line:
                    selector.unregister(process.stderr)

    def end(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()
