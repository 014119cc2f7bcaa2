"""The demo's page: one HTML file that needs nothing else and opens offline."""

from __future__ import annotations

__all__ = ("embedded_json", "render_page", "write_page")

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from market_data_pipeline.demo.chart_data import chart_data
from market_data_pipeline.demo.market import EVERY, FEEDS, Outputs
from market_data_pipeline.sink.publish import Draft, reporting

if TYPE_CHECKING:
    from market_data_pipeline.dag.metrics import Ledger
    from market_data_pipeline.demo.run import DemoResult
    from market_data_pipeline.demo.score import Check
    from market_data_pipeline.source.synthetic import SyntheticSource

_TITLE: Final = "A market through market_data_pipeline"
_EXACT: Final = ("ok", "&#10003;", "exact")
_DIFFERS: Final = ("off", "&#10007;", "differs")


def write_page(demo: DemoResult, trades: SyntheticSource, outputs: Outputs) -> None:
    """Write the page of a demo that ran to its end.

    Args:
        demo: What the demo did.
        trades: The feed of trades, whose bars are drawn.
        outputs: Where the demo wrote.

    Raises:
        OutputError: If it cannot be written.
    """
    text = render_page(demo, chart_data(trades, demo.run, outputs))
    path = str(outputs.page)
    draft = Draft(path, overwrite=True)
    try:
        with reporting(path):
            draft.temporary.write_text(text, encoding="utf-8")
            draft.publish_file()
    finally:
        draft.discard()


def render_page(demo: DemoResult, data: Mapping[str, Any]) -> str:
    """Return the page.

    Args:
        demo: What the demo did.
        data: What the chart draws; see `chart_data`.
    """
    folder = files("market_data_pipeline.demo")
    parts = {
        "TITLE": escape(_TITLE),
        "SUBTITLE": escape(
            f"{demo.symbols} made-up symbols (seed {demo.seed}), "
            f"trades and quotes, deduplicated, into bars of {EVERY}"
        ),
        "TILES": _tiles(demo),
        "PLANTED": _planted(demo.checks),
        "FOLDER": escape(str(demo.outputs[0][0].parent)),
        "OUTPUTS": _outputs(demo),
        "VERDICT": escape(_verdict(demo.run.ledger)),
        "LEDGER": _ledger(demo.run.ledger),
        "DATA": embedded_json(data),
        "SCRIPT": folder.joinpath("page.js").read_text(encoding="utf-8"),
    }
    # The template is split once, so that no part can bring a mark of another one with it.
    first, *rest = folder.joinpath("page.html").read_text(encoding="utf-8").split("<!--")
    page = [first]
    for piece in rest:
        name, _, after = piece.partition("-->")
        page += [parts[name], after]
    return "".join(page)


def embedded_json(value: object) -> str:
    """Return JSON that cannot end the script element it stands in."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _tiles(demo: DemoResult) -> str:
    passed = sum(check.passed for check in demo.checks)
    balanced = demo.run.ledger.balanced
    tiles = [
        ("", f"{demo.rows:,}", "trades and quotes in"),
        ("", f"{demo.bars:,}", f"bars of {EVERY} out"),
        ("", f"{demo.rows_per_second:,.0f}", "rows a second, to disk"),
        ("", f"{demo.run.seconds:.2f} s", "from the first row to files in place"),
        (
            "good" if passed == len(demo.checks) else "bad",
            f"{passed} of {len(demo.checks)}",
            "known facts found exactly",
        ),
        ("good" if balanced else "bad", "balanced" if balanced else "not balanced", "the ledger"),
    ]
    return "".join(
        f'<div class="tile {kind}"><b>{escape(figure)}</b><span>{escape(text)}</span></div>'
        for kind, figure, text in tiles
    )


def _planted(checks: Sequence[Check]) -> str:
    rows = []
    for feed in FEEDS:
        for check in checks:
            if check.feed == feed:
                kind, mark, word = _EXACT if check.passed else _DIFFERS
                badge = f'<span class="{kind}" title="{word}">{mark}</span>'
                figures = _figure(check.planted) + _figure(check.found)
                name = escape(f"{feed}: {check.what}")
                rows.append(f"<tr><td>{name}</td>{figures}<td>{badge}</td></tr>")
    return _table(("", "planted", "found", ""), rows, numbers=(1, 2))


def _outputs(demo: DemoResult) -> str:
    rows = [
        f"<tr><td><code>{escape(path.name)}</code></td><td class=text>{escape(text)}</td></tr>"
        for path, text in demo.outputs
    ]
    return _table(("file", "what"), rows)


def _verdict(ledger: Ledger) -> str:
    if ledger.balanced:
        return "Rows in and created equal rows out, ended and held, for every node."
    odd = ", ".join(f"{a.node} by {a.unaccounted:,}" for a in ledger.accounts if a.unaccounted)
    return f"Rows are missing from the account: {odd}."


def _ledger(ledger: Ledger) -> str:
    reasons = list(dict.fromkeys(r for account in ledger.accounts for r in account.reasons))
    header = ("node", "in", "created", "out", *reasons, "held")
    rows = []
    for account in ledger.accounts:
        ended = [account.reasons.get(reason, 0) for reason in reasons]
        figures = [account.rows_in, account.created, account.rows_out, *ended, account.held]
        cells = "".join(_figure(figure) for figure in figures)
        rows.append(f"<tr><td>{escape(account.node)}</td>{cells}</tr>")
    return _table(header, rows, numbers=range(1, len(header)))


def _table(header: Sequence[str], rows: Sequence[str], numbers: Sequence[int] = ()) -> str:
    head = "".join(
        f"<th{' class=n' if place in numbers else ''}>{escape(name)}</th>"
        for place, name in enumerate(header)
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _figure(value: int | str) -> str:
    if isinstance(value, str):
        return f'<td class="n text">{escape(value)}</td>'
    return f'<td class="n{"" if value else " zero"}">{value:,}</td>'
