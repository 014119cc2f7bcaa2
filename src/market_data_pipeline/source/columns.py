"""Which of a file's columns is which of ours."""

from __future__ import annotations

__all__ = ("Plan", "plan_columns")

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa

from market_data_pipeline.errors import ColumnError, nearest
from market_data_pipeline.records import (
    BAR,
    FILLED,
    OP,
    QUOTE,
    QUOTE_BAR,
    TRADE,
    Field,
    Kind,
    Schema,
    turnover_field,
)
from market_data_pipeline.source.cells import is_text, plain_type
from market_data_pipeline.source.reader import ReadOptions

# Spellings without case, spaces and punctuation; earlier ones win.
_ALIASES: Final[dict[str, tuple[str, ...]]] = {
    "ts_event": (
        *("tsevent", "timestamp", "eventtime", "tradetime", "quotetime", "exchangetimestamp"),
        *("transacttime", "transactiontime", "participanttimestamp", "siptimestamp"),
        *("datetime", "datetimeutc", "timestamputc", "timeutc", "timestampns", "timestampus"),
        *("timestampms", "timens", "timeus", "timems", "time", "ts", "t", "date"),
    ),
    "ts_recv": (
        *("tsrecv", "receivetime", "recvtime", "receivedat", "tsreceived", "localtimestamp"),
        *("localts", "captime", "capturetime"),
    ),
    "symbol": (
        *("symbol", "ticker", "sym", "instrument", "instrumentname", "security", "pair"),
        *("product", "productid", "contract", "ric", "s"),
    ),
    "price": ("price", "px", "tradeprice", "lastprice", "last", "p"),
    "size": (
        *("size", "qty", "quantity", "amount", "volume", "vol", "sz", "tradesize", "lastsize"),
        *("lastqty", "tradeqty", "baseqty", "q", "v"),
    ),
    "side": ("side", "aggressor", "aggressorside", "takerside", "tradeside", "direction"),
    "trade_id": (
        *("tradeid", "tid", "aggregateid", "aggregatetradeid", "aggtradeid", "aggid"),
        *("matchid", "execid", "tradenumber", "id"),
    ),
    "sequence": ("sequence", "seq", "seqnum", "seqno", "sequencenumber"),
    "flags": ("flags",),
    "bid_price": (
        *("bidprice", "bid", "bidpx", "bestbid", "bestbidprice", "bestbidpx", "bidpx00"),
        *("bids0price", "bp"),
    ),
    "bid_size": (
        *("bidsize", "bidqty", "bidsz", "bidquantity", "bidvolume", "bidvol", "bidamount"),
        *("bestbidsize", "bestbidqty", "bidsz00", "bids0amount", "bs"),
    ),
    "ask_price": (
        *("askprice", "ask", "askpx", "bestask", "bestaskprice", "bestaskpx", "askpx00"),
        *("asks0price", "offer", "offerprice", "ofr", "ap"),
    ),
    "ask_size": (
        *("asksize", "askqty", "asksz", "askquantity", "askvolume", "askvol", "askamount"),
        *("bestasksize", "bestaskqty", "asksz00", "asks0amount", "offersize", "ofrsiz", "as"),
    ),
}
_NEEDED: Final = {
    "trade": ("ts_event", "price", "size"),
    "quote": ("ts_event", "bid_price", "ask_price"),
}
_OURS: Final = frozenset(TRADE.names) | frozenset(QUOTE.names)
_PUNCTUATION: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Plan:
    """How a file's columns become a batch's.

    Attributes:
        schema: The columns of the batches.
        sources: For each of them the file's column; the symbol may have none.
        symbol: The symbol of all rows, where no column holds it.
    """

    schema: Schema
    sources: Mapping[str, str]
    symbol: str

    @property
    def read(self) -> tuple[str, ...]:
        """The file's columns that are read, each once."""
        return tuple(dict.fromkeys(self.sources.values()))


def plan_columns(
    place: str, found: pa.Schema, options: ReadOptions, *, default_symbol: str
) -> Plan:
    """Match a file's columns with ours.

    A file that has all columns of bars holds bars. Else a column is taken by the mapping
    in `options.columns`, else by our own name, else by a common other name, without regard
    to case and punctuation. The rest ride along under their own names.

    Args:
        place: The file, for messages.
        found: The file's columns; text files have only strings.
        options: How to read the file.
        default_symbol: The symbol of a file without symbols, if the options name none.

    Raises:
        ColumnError: If a needed column is not there, a name is there twice, or a column
            is of a type that cannot be taken.
    """
    names = list(found.names)
    _refuse_duplicates(place, names)
    bar = _bar_of(names, options)
    if bar is not None:
        return _plan_of_bars(place, found, bar, options)
    matched = _match(place, names, options)
    base = _kind_of(place, names, matched, options)
    matched = {name: source for name, source in matched.items() if name in base}
    for name in _NEEDED[base.name]:
        if name not in matched:
            raise _missing(place, name, names, f"a {base.name}")
    fields = _fields(place, found, base, matched)
    taken = set(matched.values())
    for name in names:
        if name not in taken and name not in matched and name != "symbol":
            fields.append(_own_field(name, found.field(name).type))
            matched[name] = name
    wanted = options.wanted
    if wanted is not None:
        fields = [field for field in fields if field.name == "ts_event" or field.name in wanted]
    schema = Schema(base.name, tuple(fields), conflatable=base.conflatable)
    sources = {field.name: matched[field.name] for field in fields if field.name in matched}
    if options.symbol is not None and "symbol" in matched:
        sources["symbol"] = matched["symbol"]  # needed to tell which rows to keep
    return Plan(schema, sources, options.symbol or default_symbol)


def _bar_of(names: Sequence[str], options: ReadOptions) -> Schema | None:
    """Return the columns of bars if a file holds bars, under the names that we give them."""
    if options.kind is not None or options.columns:
        return None
    for bar in (BAR, QUOTE_BAR):
        own = bar.names[: bar.names.index("count") + 1]
        if all(name in names for name in own):
            return bar
    return None


def _plan_of_bars(place: str, found: pa.Schema, bar: Schema, options: ReadOptions) -> Plan:
    known = bar.having(*((turnover_field(bar),) if bar is BAR else ()), FILLED, OP)
    fields = []
    for name in found.names:
        theirs = found.field(name)
        field = known[name] if name in known else _own_field(name, theirs.type)
        if field.kind in {Kind.TIME, Kind.FIXED, Kind.INT, Kind.SYMBOL}:
            _check_type(place, theirs, field)
        fields.append(field)
    order = {name: place for place, name in enumerate(known.names)}
    fields.sort(key=lambda field: order.get(field.name, len(order)))
    wanted = options.wanted
    if wanted is not None:
        fields = [field for field in fields if field.name == bar.time or field.name in wanted]
    sources = {field.name: field.name for field in fields}
    if options.symbol is not None:
        sources["symbol"] = "symbol"  # needed to tell which rows to keep
    return Plan(replace(bar, fields=tuple(fields)), sources, "")


def _refuse_duplicates(place: str, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        msg = f"the column {_listed(twice)} is there more than once; rename one of them"
        raise ColumnError(msg, place=place)


def _match(place: str, names: Sequence[str], options: ReadOptions) -> dict[str, str]:
    matched: dict[str, str] = {}
    for ours, theirs in options.columns.items():
        if ours not in _OURS:
            msg = (
                f"there is no `{ours}` to map a column to{nearest(ours, _OURS)} "
                f"(names: {_listed(sorted(_OURS))})"
            )
            raise ColumnError(msg, place=place)
        if theirs not in names:
            msg = (
                f"there is no column `{theirs}`, which `{ours}` is mapped to"
                f"{_nearest(theirs, names)} (columns: {_listed(names)})"
            )
            raise ColumnError(msg, place=place)
        matched[ours] = theirs
    spelled: dict[str, str] = {}
    for name in names:
        if name not in matched.values():
            spelled.setdefault(_PUNCTUATION.sub("", name.lower()), name)
    for ours, aliases in _ALIASES.items():
        if ours in matched:
            continue
        if ours in spelled.values():
            matched[ours] = ours
            continue
        alias = next((alias for alias in aliases if alias in spelled), None)
        if alias is not None:
            matched[ours] = spelled[alias]
    return matched


def _kind_of(
    place: str, names: Sequence[str], matched: Mapping[str, str], options: ReadOptions
) -> Schema:
    if options.kind is not None:
        return TRADE if options.kind == "trades" else QUOTE
    if "price" in options.columns:
        return TRADE
    if "bid_price" in matched and "ask_price" in matched:
        return QUOTE
    if "price" in matched:
        return TRADE
    raise _missing(place, "price", names, "a trade (nor `bid_price` and `ask_price` of a quote)")


def _missing(place: str, name: str, names: Sequence[str], what: str) -> ColumnError:
    near = _nearest(name, names)
    msg = (
        f"no column is the `{name}` of {what}{near} (columns: {_listed(names)}); "
        f"say which with `--column {name}=THEIRS`"
    )
    return ColumnError(msg, place=place)


def _nearest(word: str, names: Sequence[str]) -> str:
    by_small = {name.lower(): name for name in names}
    found = difflib.get_close_matches(word.lower(), list(by_small), n=1, cutoff=0.5)
    return f"; the nearest is `{by_small[found[0]]}`" if found else ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"


def _fields(place: str, found: pa.Schema, base: Schema, matched: Mapping[str, str]) -> list[Field]:
    fields = []
    for field in base:
        if field.name == "symbol":
            if "symbol" in matched:
                _check_type(place, found.field(matched["symbol"]), field)
            fields.append(field)
        elif field.name in matched:
            source = found.field(matched[field.name])
            if field.kind is Kind.INT and is_text(plain_type(source.type)):
                fields.append(Field(field.name, Kind.ARROW, arrow=pa.string()))
                continue
            _check_type(place, source, field)
            fields.append(field)
    return fields


def _check_type(place: str, source: pa.Field, field: Field) -> None:
    kind = plain_type(source.type)
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    fits = is_text(kind)
    if field.kind is Kind.TIME:
        moment = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
        fits |= moment or pa.types.is_integer(kind) or pa.types.is_float64(kind)
    elif field.kind in {Kind.FIXED, Kind.INT}:
        fits |= number
    else:
        fits |= pa.types.is_integer(kind)
    if not fits:
        msg = f"the column `{source.name}` cannot be the {field.name}: its type is {source.type}"
        raise ColumnError(msg, place=place)


def _own_field(name: str, kind: pa.DataType) -> Field:
    if kind == pa.int64():
        return Field(name, Kind.INT)
    if kind == pa.float64():
        return Field(name, Kind.FLOAT)
    return Field(name, Kind.ARROW, arrow=plain_type(kind))
