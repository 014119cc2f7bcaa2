"""Which sink writes a file, told from its name."""

from __future__ import annotations

__all__ = ("check_apart", "sink_for")

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from market_data_pipeline.errors import ConfigError

if TYPE_CHECKING:
    from market_data_pipeline.dag.nodes import SinkNode

_ENDINGS: Final = (".parquet", ".csv", ".jsonl", ".duckdb")
_COMPRESSED: Final = (".csv", ".jsonl")


def sink_for(
    path: str, *, overwrite: bool, prices: str | None = None, table: str = "bars"
) -> SinkNode:
    """Return the sink for a path.

    Args:
        path: Ends in `.parquet`, `.csv`, `.jsonl` or `.duckdb`, or in `/` for a folder of
            Parquet files; text may be compressed, as in `.csv.gz`.
        overwrite: Replace what is there; otherwise refuse.
        prices: `float64` or `decimal`; None for the format's own way.
        table: Name of the table in a `.duckdb` file.

    Raises:
        ConfigError: If the path ends in none of these, or the format cannot hold prices
            as asked.
    """
    from market_data_pipeline.spec.registry import find

    form = _form_of(path)
    settings: dict[str, Any] = {}
    if form == ".duckdb":
        settings["table"] = table
    if form == ".parquet" and prices is not None:
        settings["prices"] = prices
    elif prices == "float64":
        msg = f"{path}: `--prices float64` is for .parquet; `{form}` files hold exact decimals"
        raise ConfigError(msg, parameter="prices")
    sink: SinkNode = find("sink", form[1:])(path=path, overwrite=overwrite, **settings)
    return sink


def check_apart(inputs: Iterable[str], outputs: Mapping[str, str]) -> None:
    """Do nothing if no output is an input, or is named twice.

    Args:
        inputs: Paths and patterns.
        outputs: Paths by the option that names them.

    Raises:
        ConfigError: If an output would replace an input or another output.
        MissingInputError: If an input is not there.
    """
    from market_data_pipeline.source.paths import find_files

    taken = {path.resolve(): "an input" for path in find_files(inputs)}
    for option, path in outputs.items():
        place = Path(path).resolve()
        if place in taken and not (path.endswith(".duckdb") and taken[place] != "an input"):
            msg = f"{option}: `{path}` is {taken[place]} too; choose another name"
            raise ConfigError(msg)
        taken.setdefault(place, f"the file of {option}")


def _form_of(path: str) -> str:
    if path.endswith("/"):
        return ".parquet"
    plain = path.removesuffix(".gz").removesuffix(".zst")
    for ending in _ENDINGS:
        if path.endswith(ending) or (ending in _COMPRESSED and plain.endswith(ending)):
            return ending
    names = ", ".join(f"`{ending}`" for ending in _ENDINGS)
    msg = f"{path}: cannot tell the format of the output from its name; end it in one of {names}"
    raise ConfigError(msg, parameter="output")
