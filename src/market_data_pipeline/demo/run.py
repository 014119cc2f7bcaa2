"""The demo: make a market, run it through the pipeline, and hold the result to the truth."""

from __future__ import annotations

__all__ = ("DEFAULT_ROWS", "DemoResult", "run_demo")

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from market_data_pipeline.clock import SystemClock
from market_data_pipeline.dag.results import RunResult
from market_data_pipeline.dag.runtime import Run
from market_data_pipeline.demo.market import EVERY, Outputs, build_dag, market_sources
from market_data_pipeline.demo.score import Check, score
from market_data_pipeline.errors import OutputError
from market_data_pipeline.running import run
from market_data_pipeline.sink.publish import reporting

DEFAULT_ROWS: Final = 2_400_000
"""Trades and quotes of an hour of the demo's market."""


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo did.

    Attributes:
        run: What the pipeline did: the ledger, the seconds, the graph.
        checks: What was planted against what was found; empty if it was interrupted.
        outputs: What was written, in the order of interest, and what it is.
        page: The page with the chart; None if it was interrupted.
        rows: Trades and quotes that arrived.
        bars: Bars that were made of them.
        symbols: Symbols of the market.
        seed: What the market followed from.
        kernel_seconds: Time to load the kernels; the first time ever they are compiled.
        seconds: From the start to the checks being made, kernels included.
    """

    run: RunResult
    checks: tuple[Check, ...]
    outputs: tuple[tuple[Path, str], ...]
    page: Path | None
    rows: int
    bars: int
    symbols: int
    seed: int
    kernel_seconds: float
    seconds: float

    @property
    def rows_per_second(self) -> float:
        """Rows through the whole pipeline, from being made to being on disk."""
        return self.rows / self.run.seconds if self.run.seconds else 0.0

    @property
    def passed(self) -> bool:
        """True if the ledger balances and all that was planted was found."""
        return self.run.ledger.balanced and all(check.passed for check in self.checks)


def run_demo(
    out_dir: str | Path = "demo",
    *,
    rows: int = DEFAULT_ROWS,
    seed: int = 1,
    progress: Callable[[Run], None] | None = None,
) -> DemoResult:
    """Run the demo; its own former output is replaced, other files stay.

    Args:
        out_dir: Folder of the outputs; made if it does not exist.
        rows: Trades and quotes in all, second copies on top.
        seed: What the market follows from.
        progress: Called about ten times a second with the run, for display.

    Raises:
        ConfigError: If `rows` or `seed` cannot be.
        OutputError: If `out_dir` cannot be written.
        NodeError: If the pipeline failed.
    """
    from market_data_pipeline.demo.page import write_page

    clock = SystemClock()
    began = clock.monotonic()
    outputs = Outputs(_folder(out_dir))
    sources = market_sources(rows, seed)
    _load_kernels()
    loaded = clock.monotonic()
    result = run(build_dag(sources, outputs), progress=progress)
    checks = () if result.interrupted else score(sources, result, outputs)
    demo = DemoResult(
        run=result,
        checks=checks,
        outputs=_written(outputs, page=not result.interrupted),
        page=None if result.interrupted else outputs.page,
        rows=result.rows_read,
        bars=sum(result.ledger[f"{one}_bars"].created for one in ("trade", "quote")),
        symbols=len(sources["trades"].names),
        seed=seed,
        kernel_seconds=loaded - began,
        seconds=clock.monotonic() - began,
    )
    if demo.page is not None:
        write_page(demo, sources["trades"], outputs)
    return demo


def _load_kernels() -> None:
    # Before the run, so that its rate is the pipeline's and not the compiler's.
    from market_data_pipeline.kernels import compact, dedupe, time_bars  # noqa: F401


def _folder(out_dir: str | Path) -> Path:
    folder = Path(out_dir)
    if folder.exists() and not folder.is_dir():
        msg = "is a file; the demo needs a folder, choose another name"
        raise OutputError(msg, path=str(folder))
    with reporting(str(folder)):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _written(outputs: Outputs, *, page: bool) -> tuple[tuple[Path, str], ...]:
    files = (
        (outputs.database, "tables trade_bars and quote_bars, exact decimals"),
        (outputs.bars("trades"), f"OHLCV bars of {EVERY}"),
        (outputs.bars("quotes"), f"bid and ask bars of {EVERY}"),
        (outputs.late("trades"), "trades too late for their bar"),
        (outputs.late("quotes"), "quotes too late for their bar"),
    )
    return ((outputs.page, "the page with the chart"), *files) if page else files
