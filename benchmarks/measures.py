"""What is measured: the questions, who is asked, on what, and what is aimed at."""

from __future__ import annotations

__all__ = ("MEASURES", "Measure", "Peer", "sizes")

from dataclasses import dataclass

from benchmarks.kinds import KINDS, Kind
from benchmarks.ticks import TickSet

MILLION = 1_000_000
LAPS = 120
"""How often ticks are read where a run must take seconds."""


@dataclass(frozen=True)
class Peer:
    """Someone who answers a question.

    Attributes:
        name: In the tables.
        module: Its module in `benchmarks.peers`.
        task: The task there.
        rows_max: Most rows it is given; it would take too long, or too much memory, for more.
        symbols_max: Most symbols it is given.
        target: Least ratio of our rate to its rate that is aimed at, None for none.
    """

    name: str
    module: str
    task: str
    rows_max: int = 100 * MILLION
    symbols_max: int = 5_000
    target: float | None = None


@dataclass(frozen=True)
class Measure:
    """A question.

    Attributes:
        name: In the results.
        title: In the tables.
        ours: Our own answer.
        peers: The others.
        sizes: What it is asked on.
        rounds: How often each pair runs.
        laps: How often a run reads the rows.
    """

    name: str
    title: str
    ours: Peer
    peers: tuple[Peer, ...]
    sizes: tuple[TickSet, ...]
    rounds: int = 5
    laps: int = 1


def sizes(*millions: int) -> tuple[TickSet, ...]:
    """Return sets of so many million rows, each with few and with many symbols."""
    return tuple(TickSet(m * MILLION, symbols) for symbols in (100, 5_000) for m in millions)


def _of_kind(kind: Kind) -> Measure:
    peers = [Peer("numba kernel alone", "kinds_kernel", kind.name, target=0.7)]
    if kind.nautilus is not None:
        peers.append(Peer("NautilusTrader", "nautilus_bars", kind.name, MILLION, target=10.0))
    return Measure(
        f"kinds: {kind.name}",
        f"`{kind.every}` bars of sorted trades, in memory, batches of 65,536 rows",
        Peer("ours", "kinds_ours", kind.name),
        tuple(peers),
        (TickSet(MILLION, 100), TickSet(10 * MILLION, 100)),
    )


MEASURES = (
    Measure(
        "bars_memory",
        "1 s bars with average price, in memory, batches of 65,536 rows",
        Peer("ours", "ours", "bars_memory"),
        (
            Peer("numba kernel alone", "numba_kernel", "bars_memory", target=0.7),
            Peer("C -O3 kernel alone", "c_kernel", "bars_memory", target=0.7),
            Peer("ours, batches of 1,000", "ours", "bars_memory_1000", 10 * MILLION),
            Peer("DuckDB SQL, own table", "duckdb_sql", "bars_memory", 10 * MILLION),
            Peer("DuckDB SQL, Arrow", "duckdb_sql", "bars_arrow", 10 * MILLION),
            Peer("Polars", "polars_frames", "bars_memory", 10 * MILLION),
            Peer("asyncio by hand, batches", "asyncio_loop", "bars_memory_1000", MILLION),
            Peer("asyncio by hand, items", "asyncio_loop", "bars_memory", MILLION),
            Peer("csp", "csp_graph", "bars_memory", MILLION, symbols_max=100),
            Peer("Bytewax", "bytewax_flow", "bars_memory", 100_000),
        ),
        sizes(1, 10, 100),
    ),
    Measure(
        "threads",
        "The same with symbols spread over two threads",
        Peer("ours, two threads", "ours", "bars_threads"),
        (Peer("ours, one thread", "ours", "bars_memory", target=1.6),),
        (TickSet(10 * MILLION, 5_000),),
    ),
    Measure(
        "bars_parquet",
        "1 s bars with average price, Parquet file to Parquet file",
        Peer("ours", "ours", "bars_parquet"),
        (
            Peer("DuckDB SQL", "duckdb_sql", "bars_parquet", target=1.5),
            Peer("Polars", "polars_frames", "bars_parquet", 10 * MILLION),
        ),
        sizes(1, 10, 100),
    ),
    Measure(
        "dedupe_bars",
        "Duplicates dropped, then 1 s bars, in memory",
        Peer("ours", "ours", "dedupe_bars"),
        (
            Peer("DuckDB DISTINCT, own table", "duckdb_sql", "dedupe_bars", target=5.0),
            Peer("Polars unique", "polars_frames", "dedupe_bars", 10 * MILLION),
        ),
        sizes(1, 10),
        rounds=3,
    ),
    Measure(
        "checkpoints",
        f"The same ticks read {LAPS} times, into a folder of Parquet files",
        Peer("ours, a checkpoint each second", "checkpoints", "each_second"),
        (Peer("ours, no checkpoints", "checkpoints", "without", target=0.95),),
        (TickSet(10 * MILLION, 100),),
        laps=LAPS,
    ),
    Measure(
        "asof_join",
        "As many quotes joined to trades as of their time, in memory, both in order",
        Peer("ours", "prevailing_quotes", "ours"),
        (
            Peer("Polars join_asof", "prevailing_quotes", "polars", target=1.0),
            Peer("DuckDB ASOF JOIN, own table", "prevailing_quotes", "duckdb", target=1.0),
        ),
        sizes(1, 10),
    ),
    Measure(
        "asof_join_arrival",
        "The same with both sides in order of arrival, up to 500 ms late",
        Peer("ours", "prevailing_quotes", "ours_arrival"),
        (
            Peer("Polars sort, join_asof", "prevailing_quotes", "polars_arrival", target=1.0),
            Peer("DuckDB ASOF JOIN, own table", "prevailing_quotes", "duckdb_arrival", target=1.0),
        ),
        sizes(1, 10),
        rounds=3,
    ),
    Measure(
        "map_filter",
        "Rows through a Python `map` and a Python `filter`, in memory",
        Peer("ours", "ours", "map_filter", MILLION),
        (Peer("Bytewax", "bytewax_flow", "map_filter", MILLION, target=1.0),),
        (TickSet(MILLION, 100),),
    ),
    Measure(
        "hopping",
        "Windows of 10 s, one each second: sum, mean and highest, in memory",
        Peer("ours", "ours", "hopping", 10 * MILLION),
        (Peer("DuckDB SQL, own table", "duckdb_sql", "hopping", 10 * MILLION),),
        sizes(1, 10),
        rounds=3,
    ),
    Measure(
        "sessions",
        "Sessions that end after 20 ms of silence: sum, mean and highest, in memory",
        Peer("ours", "ours", "sessions", 10 * MILLION),
        (Peer("DuckDB SQL, own table", "duckdb_sql", "sessions", 10 * MILLION),),
        sizes(1, 10),
        rounds=3,
    ),
    *(_of_kind(kind) for kind in KINDS),
)
