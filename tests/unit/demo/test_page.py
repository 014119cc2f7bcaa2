"""The page of the demo: one file, nothing fetched, nothing let through unescaped."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from market_data_pipeline.dag.graph import Dag
from market_data_pipeline.dag.metrics import Account, Ledger
from market_data_pipeline.dag.results import RunResult
from market_data_pipeline.demo.page import embedded_json, render_page
from market_data_pipeline.demo.run import DemoResult
from market_data_pipeline.demo.score import Check

_EVIL = "</script><script>alert('x')</script>&<!--DATA-->"


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = dict(attrs).get("id") or tag

    def handle_data(self, data: str) -> None:
        self.text[self._inside] = self.text.get(self._inside, "") + data


def _demo(name: str, *, found: int = 3) -> DemoResult:
    account = Account(name, rows_in=10, rows_out=7, reasons={"duplicate": found})
    run = RunResult(Dag("demo"), Ledger((account,)), 2.0, interrupted=False, edges={})
    return DemoResult(
        run=run,
        checks=(Check("trades", name, 3, found), Check("trades", "gap", name, name)),
        outputs=((Path("out") / "market.html", name),),
        page=Path("out/market.html"),
        rows=10,
        bars=4,
        symbols=2,
        seed=1,
        kernel_seconds=0.5,
        seconds=3.0,
    )


def _parsed(text: str) -> _Page:
    page = _Page()
    page.feed(text)
    page.close()
    return page


def test_page_loads_nothing() -> None:
    """No element refers to anything outside, and the policy forbids it too."""
    text = render_page(_demo("trades"), {"symbols": []})
    assert not re.search(r"(https?:)?//[a-z0-9.-]+\.[a-z]{2,}", text)
    page = _parsed(text)
    for tag, attributes in page.tags:
        assert tag not in {"img", "iframe", "object", "embed", "base"}
        assert "src" not in attributes
        if tag == "link":
            assert attributes["href"] == "data:,"
        assert not [name for name in attributes if name.startswith("on")]
    assert "@import" not in text
    assert "url(" not in text
    policies = [a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a]
    assert policies
    assert "default-src 'none'" in str(policies[0])


def test_names_cannot_become_markup() -> None:
    """Whatever a name holds, it is shown as text."""
    text = render_page(_demo(_EVIL), {"symbols": [{"name": _EVIL}]})
    page = _parsed(text)
    assert sum(tag == "script" for tag, _ in page.tags) == 2
    assert json.loads(page.text["data"]) == {"symbols": [{"name": _EVIL}]}
    assert "alert('x')</script>" not in text


def test_no_mark_of_the_template_is_left() -> None:
    """Every part of the template is filled in."""
    assert "<!--" not in render_page(_demo("trades"), {"symbols": []})


def test_ledger_and_checks_are_shown_without_script() -> None:
    """Tables stand in the page's own text."""
    text = render_page(_demo("clean"), {"symbols": []})
    assert "balanced" in text
    assert ">clean<" in text
    assert "2 of 2" in text


def test_what_was_not_found_is_shown() -> None:
    """A fact that was not found exactly is marked, as is a ledger that is off."""
    text = render_page(_demo("clean", found=2), {"symbols": []})
    assert "1 of 2" in text
    assert "differs" in text
    assert "not balanced" in text
    assert "clean by 1" in text


@pytest.mark.parametrize("value", ["</script>", "<!--", "a & b", "\u2028"])
def test_embedded_json_is_plain_text(value: str) -> None:
    """JSON in a page reads back as it was, and holds no markup."""
    text = embedded_json([value])
    assert json.loads(text) == [value]
    assert not set("<>&\u2028") & set(text)
