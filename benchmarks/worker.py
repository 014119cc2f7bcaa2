"""A peer's process: prepares once, then runs when it is told to.

It reads lines from standard input: `run`, or `end`; and answers each with one line of
JSON. What a peer prints goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from typing import Any

from benchmarks.tasks import Missing
from benchmarks.ticks import TickSet


def main() -> None:
    """Serve one task."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(**said: Any) -> None:
        answers.write(json.dumps(said) + "\n")
        answers.flush()

    module, name, rows, symbols = sys.argv[1:5]
    try:
        tasks = importlib.import_module(f"benchmarks.peers.{module}").TASKS
        task = tasks[name](TickSet(int(rows), int(symbols)))
        task.prepare()
    except (Missing, ImportError) as err:
        say(missing=str(err))
        return
    say(ready=True)
    for line in sys.stdin:
        if line.strip() != "run":
            break
        began, used = time.perf_counter(), time.process_time()
        answer = task.run()
        seconds, cpu = time.perf_counter() - began, time.process_time() - used
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        difference = task.check(answer)
        say(
            seconds=seconds,
            cpu_seconds=cpu,
            peak_rss_bytes=peak,
            wrong=difference.text,
            without=difference.without,
            **task.figures(answer),
        )
        del answer


if __name__ == "__main__":
    main()
