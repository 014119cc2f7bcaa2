"""A store becomes ten times slower, the provider follows, and comes back when the store does.

    python -m examples.dag_with_backpressure
    python -m examples.dag_with_backpressure --svg loop.svg
    python -m examples.dag_with_backpressure --dsn postgresql://me@localhost/scratch

Runs offline, with a made-up store. With `--dsn` the store is a table of that PostgreSQL
database, slowed down by a trigger; both are made and dropped again
(`pip install 'market-data-pipeline[postgres]'`).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from examples.slow_store import PostgresStore, SlowStore

import market_data_pipeline as mdp
from market_data_pipeline.orchestration import PipelineRuntime, PipelineRuntimeSettings

RATE = 4_000
PHASES = ((2.0, "as usual"), (10.0, "a tenth"), (7.0, "as usual"))
"""Seconds, and how fast the store is."""
WIDTH, HEIGHT, LEFT, PANEL = 940, 470, 64, 110
STYLE = """<style>
text{font:12px system-ui,"Segoe UI",Helvetica,Arial,sans-serif;fill:var(--ink)}
svg{--ground:#fff;--ink:#1f2937;--soft:#64748b;--hair:#e2e8f0;--past:#fef3c7;
--given:#1d4ed8;--written:#22a06b;--fill:#dc2626;--scale:#9a3412}
@media (prefers-color-scheme:dark){svg{--ground:#0f172a;--ink:#e5e7eb;--soft:#94a3b8;
--hair:#27344b;--past:#3f3313;--given:#93c5fd;--written:#4ade80;--fill:#f87171;--scale:#fdba74}}
.ground{fill:var(--ground);stroke:var(--hair)}.soft{fill:var(--soft)}.hair{stroke:var(--hair)}
.past{fill:var(--past)}.line{fill:none;stroke-width:2}
</style>"""


class Moment(NamedTuple):
    """What there was to see at one time: seconds, rows a second, and shares."""

    at_s: float
    given: float
    written: float
    saturation: float
    scale: float


def build(sink: Any) -> mdp.Dag:
    """Describe the pipeline: a provider that can be slowed down, and a store."""
    dag = mdp.Dag("backpressure")
    feed = mdp.SyntheticSource(
        rows=10_000_000, rate=RATE, speed=1.0, provider="venue", duplicates=0, disorder=0, late=0
    )
    columns = ["ts_event", "symbol", "price", "size", "trade_id"]
    dag.source(feed, name="feed").select(columns, name="columns").sink(sink, name="store")
    return dag


async def watch(sink: Any, slow_down: Callable[[bool], None]) -> list[Moment]:
    """Run the pipeline through the phases, and look ten times a second."""
    settings = PipelineRuntimeSettings(
        dag={"feedback": {"delay_max_s": 0.5, "interval_s": 0.1}, "drain_timeout_s": 60}
    )
    moments: list[Moment] = []
    async with PipelineRuntime(settings) as runtime:
        key = await runtime.start(build(sink))
        loop = asyncio.get_running_loop()
        began = then = loop.time()
        until, rows = began, (0, 0)
        for seconds, pace in PHASES:
            await asyncio.to_thread(slow_down, pace != "as usual")
            until += seconds
            while loop.time() < until:
                await asyncio.sleep(0.1)
                run, loop_state = runtime.status(key).run, runtime.feedback
                if (
                    run is None
                    or loop_state is None
                    or "venue" not in loop_state.state().providers
                ):
                    continue
                state, nodes, now = loop_state.state(), run.nodes(), loop.time()
                count = nodes["feed"].rows_out, nodes["store"].rows_out
                given, written = ((b - a) / (now - then) for a, b in zip(rows, count, strict=True))
                moments.append(
                    Moment(
                        now - began,
                        given,
                        written,
                        state.sinks[key, "store"].saturation,
                        state.providers["venue"].scale,
                    )
                )
                rows, then = count, now
        await asyncio.to_thread(slow_down, False)
        await runtime.stop(key)
        ledger = (await runtime.wait(key)).ledger
        given, stored = ledger["feed"].rows_out, ledger["store"].rows_out
        print(f"{given:,} rows given, {stored:,} rows in the store")
    return moments


def smooth(values: Sequence[float]) -> list[float]:
    """Return the mean of each value and the four before it: rows come in batches."""
    return [
        sum(values[max(0, n - 4) : n + 1]) / len(values[max(0, n - 4) : n + 1])
        for n in range(len(values))
    ]


def plot(moments: Sequence[Moment]) -> str:
    """Return the picture: rows a second, fill, and scale over time."""
    last = moments[-1].at_s
    panels = (
        (
            "rows per second: given by the provider, written by the store",
            RATE * 1.5,
            (("given", [m.given for m in moments]), ("written", [m.written for m in moments])),
        ),
        (
            "fill of the store: 1 is the most it may have waiting",
            2.0,
            (("fill", [min(2.0, m.saturation) for m in moments]),),
        ),
        (
            "scale: share of its budget that the provider may use",
            1.0,
            (("scale", [m.scale for m in moments]),),
        ),
    )

    def x(at_s: float) -> float:
        return LEFT + at_s / last * (WIDTH - LEFT - 24)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}"',
        f'height="{HEIGHT}" role="img" aria-label="a provider follows a store that is slow">',
        STYLE,
        f'<rect class="ground" x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="8"/>',
    ]
    slow = PHASES[0][0], PHASES[0][0] + PHASES[1][0]
    for at, (title, top, lines) in enumerate(panels):
        high = 40 + at * (PANEL + 34)
        parts.append(
            f'<rect class="past" x="{x(slow[0]):.1f}" y="{high}" '
            f'width="{x(slow[1]) - x(slow[0]):.1f}" height="{PANEL}"/>'
        )
        parts.append(f'<text x="{LEFT}" y="{high - 8}">{title}</text>')
        for share in (0.0, 0.5, 1.0):
            y = high + PANEL * (1 - share)
            parts.append(
                f'<line class="hair" x1="{LEFT}" y1="{y}" x2="{WIDTH - 24}" y2="{y}"/>'
                f'<text class="soft" x="{LEFT - 8}" y="{y + 4}" text-anchor="end">'
                f"{share * top:,.4g}</text>"
            )
        for name, values in lines:
            shown = smooth(values) if len(lines) > 1 else values
            path = " ".join(
                f"{'L' if n else 'M'}{x(m.at_s):.1f} "
                f"{high + PANEL * (1 - min(1.0, value / top)):.1f}"
                for n, (m, value) in enumerate(zip(moments, shown, strict=True))
            )
            parts.append(f'<path class="line" style="stroke:var(--{name})" d="{path}"/>')
        for n, (name, _) in enumerate(lines if len(lines) > 1 else ()):
            parts.append(
                f'<text x="{WIDTH - 160 + n * 70}" y="{high - 8}" '
                f'style="fill:var(--{name})">{name}</text>'
            )
    parts += [
        f'<text class="soft" x="{x(second):.1f}" y="{HEIGHT - 12}" text-anchor="middle">'
        f"{second} s</text>"
        for second in range(0, int(last) + 1, 2)
    ]
    parts.append(f'<text class="soft" x="{x(slow[0]) + 6:.1f}" y="52">the store is slow</text>')
    return "\n".join([*parts, "</svg>", ""])


def main(arguments: Sequence[str] = ()) -> None:
    """Run it, and show the scale as text or as a picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--svg", type=Path, help="where to write the picture")
    parser.add_argument("--dsn", help="a PostgreSQL database to use as the store")
    options = parser.parse_args(list(arguments))
    if options.dsn is None:
        store = SlowStore(rows_per_second=10 * RATE, slowed_to=RATE / 10)
        moments = asyncio.run(watch(store, store.slow_down))
    else:
        with PostgresStore(options.dsn, row_s=10 / RATE) as table:
            moments = asyncio.run(watch(table.sink, table.slow_down))
    for moment in moments[::5]:
        bar = "#" * round(40 * moment.scale)
        print(
            f"{moment.at_s:5.1f} s  {moment.given:6,.0f} rows/s  scale {moment.scale:5.3f} {bar}"
        )
    if options.svg is not None:
        options.svg.write_text(plot(moments), encoding="utf-8")
        print(f"the picture is {options.svg}")


if __name__ == "__main__":
    main(sys.argv[1:])
