"""The soak of the documentation: `python -m soak --minutes 45`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from soak.verdict import MEBIBYTE, soak


def main() -> None:
    """Run it and print a table; exit 1 if something has grown."""
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--rate", type=float, default=5_000, help="trades, and quotes, a second")
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mdp-soak-") as folder:
        found = soak(Path(folder), int(settings.minutes * 60), settings.rate)
    units = {"rss": ("memory, MiB", MEBIBYTE), "arrow": ("of it Arrow's, MiB", MEBIBYTE)}
    rows = [f"| {found.samples} s, {found.rows:,} rows | early | last |", "|---|---|---|"]
    for name, early in found.early.items():
        word, unit = units.get(name, (name, 1))
        rows.append(f"| {word} | {early / unit:,.0f} | {found.last[name] / unit:,.0f} |")
    rows.append(
        f"\n{found.checkpoints} checkpoints, {found.failures} failed, 99 % of them within "
        f"{found.slowest_checkpoint_s * 1000:.0f} ms; the event loop was free again within "
        f"{found.worst_lag_s * 1000:.0f} ms 99 % of the time."
    )
    sys.stdout.write("\n".join([*rows, ""]))
    complaints = found.complaints()
    sys.stdout.write("\n".join(complaints) + "\n" if complaints else "")
    sys.exit(bool(complaints))


if __name__ == "__main__":
    main()
