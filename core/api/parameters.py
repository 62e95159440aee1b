"""What programs may ask: a struct a route is its validation and its documentation at once."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from core.api.problems import Problem, bad_parameter
from core.bar_sql import TIMEFRAMES
from core.live.window import TIMEFRAME_LABELS
from core.pair_spec import MAX_WINDOW, MIN_BURN_IN

T = TypeVar("T", bound=Struct)

MOST_BARS, MOST_POINTS, MOST_SYMBOLS = 10_000, 100_000, 200
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive UTC, as the store keeps it
# Beyond this an epoch in milliseconds is no time that the file can hold.
_LAST_MS = 7_258_118_400_000
_PLACE = re.compile(r"at `\$\.?([^`\[.]*)")
_UNTOLD = ("description", "examples", "anyOf", "default")
_FIELD = re.compile(r"(?:unknown|required) field `([^`]*)`")


def _meta(words: str, **more: Any) -> Meta:
    return Meta(description=words, **more)


# A length is a limit of the text, not of its absence: msgspec takes it inside the union only.
_Text = Annotated[str, Meta(max_length=80)]
_SYMBOL = {"min_length": 1, "max_length": 80}
Symbol = Annotated[str, _meta("A symbol, in any case.", **_SYMBOL, examples=["arbusdt"])]
Dataset = Annotated[
    _Text | None,
    _meta("An uploaded tick dataset. Without it the symbol's own trades, or its newest dataset "
          "where it has none."),
]  # fmt: skip
SourceName = Annotated[
    Literal["binance", "practice"] | None,
    _meta("Which file: the live exchange's or the practice exchange's. Without it the one with a "
          "live worker, else the one with data."),
]  # fmt: skip
Timeframe = Annotated[
    str,
    _meta("The bars' length.", examples=["1s"],
          extra_json_schema={"enum": [*TIMEFRAMES, *TIMEFRAME_LABELS.values()]}),
]  # fmt: skip
Time = Annotated[
    Annotated[str, Meta(max_length=40)] | None,
    _meta("ISO 8601 (UTC where no offset is given) or milliseconds since 1970.",
          examples=["2026-11-01T00:00:00Z"]),
]  # fmt: skip
TimeFormat = Annotated[
    Literal["iso", "ms"], _meta("How times are written: ISO 8601 UTC, or epoch milliseconds.")
]
TableFormat = Annotated[Literal["csv", "parquet", "arrow"], _meta("The file's format.")]
RangeName = Annotated[
    Literal["15m", "1h", "6h", "1d", "7d", "all"] | None,
    _meta("The stretch up to the newest bar that fit and tests stand on; without it 1h for bars "
          "under a minute, else 1d."),
]  # fmt: skip
Points = Annotated[int, _meta("The newest points of each series.", ge=1, le=MOST_POINTS)]
MinVolume = Annotated[
    float,
    _meta("Quote units (close · volume) that a bar of either leg needs to count.", ge=0, le=1e15),
]
Window = Annotated[
    int,
    _meta("Bars of the rolling statistics, and the lookback of refit OLS.", ge=3, le=MAX_WINDOW),
]
Regression = Annotated[
    Literal["ols", "rolling", "refit", "tls", "kalman"],
    _meta("How the hedge ratio is found; ols and tls are in-sample."),
]
Scale = Annotated[Literal["log", "raw"], _meta("Logs of prices, or prices.")]


class Where(Struct, kw_only=True, forbid_unknown_fields=True):
    """What every route takes."""

    source: SourceName = None


class Listed(Where, kw_only=True):
    """A list with times in it."""

    ts_format: TimeFormat = "iso"


class BarsQuery(Listed, kw_only=True):
    """Bars of one symbol."""

    timeframe: Timeframe = "1s"
    start: Time = None
    end: Time = None
    limit: Annotated[
        Annotated[int, Meta(ge=1, le=MOST_BARS)] | None,
        _meta("The newest bars of the range; without it 1,000, or with start all."),
    ] = None
    dataset: Dataset = None


class ExportQuery(BarsQuery, kw_only=True):
    """The same as a file."""

    format: TableFormat = "csv"


class PairAsked(Where, kw_only=True):
    """A pair and how it is looked at: the parameters of the Pair page."""

    x: Annotated[str, _meta("The hedging leg.", **_SYMBOL, examples=["opusdt"])]
    y: Annotated[str, _meta("The dependent leg.", **_SYMBOL, examples=["arbusdt"])]
    timeframe: Timeframe = "1s"
    roll_window: Window = 60
    regression: Regression = "ols"
    price_scale: Scale = "log"
    min_volume: MinVolume = 0.0
    carry: Annotated[
        int, _meta("Bars on which a leg's last price is carried; 0: none.", ge=0, le=1000)
    ] = 0
    hold: Annotated[int, _meta("Refit OLS: bars that a fit is held.", ge=1, le=MAX_WINDOW)] = 60
    burn_in: Annotated[
        int, _meta("Kalman: bars that it starts from.", ge=MIN_BURN_IN, le=MAX_WINDOW)
    ] = 1440
    dataset: Dataset = None


class RangedPair(PairAsked, kw_only=True):
    """The same over a range."""

    range: RangeName = None


class PairQuery(RangedPair, kw_only=True):
    """A pair's analysis."""

    limit: Points = 500
    ts_format: TimeFormat = "iso"


class PairExportQuery(RangedPair, kw_only=True):
    """A pair's rows as a file."""

    format: TableFormat = "csv"
    ts_format: TimeFormat = "iso"


class MatrixQuery(Listed, kw_only=True):
    """Correlations of many symbols."""

    symbols: Annotated[
        str,
        _meta("Two or more symbols, with commas between.", min_length=3, max_length=8_000,
              examples=["arbusdt,opusdt"]),
    ]  # fmt: skip
    timeframe: Timeframe = "1min"
    min_volume: MinVolume = 0.0
    range: RangeName = None
    on: Annotated[
        Literal["returns", "levels"], _meta("Of returns between bars, or of log prices.")
    ] = "returns"
    kind: Annotated[Literal["pearson", "spearman"], _meta("Which correlation.")] = "pearson"
    dataset: Dataset = None


class EventsQuery(Listed, kw_only=True):
    """Alert events."""

    limit: Annotated[int, _meta("The newest so many.", ge=1, le=1000)] = 100
    rule: Annotated[_Text | None, _meta("Of this rule only.")] = None


class UploadQuery(Where, kw_only=True):
    """One upload."""


class DeleteUpload(Where, kw_only=True):
    """What to remove of an upload."""

    data: Annotated[
        bool, _meta("Also the dataset or the bars that it brought, as the Data page deletes them.")
    ] = False


def parsed_query(kind: type[T], items: Sequence[tuple[str, str]]) -> T:
    """Return the query as its struct; an empty value counts as not given. Raises Problem."""
    found: dict[str, str] = {}
    for name, value in items:
        if name in found:
            raise bad_parameter(name, f"{name} is given twice; give it once")
        if value:
            found[name] = value
    made = converted(kind, found, is_text=True)
    for name, value in found.items():
        # A number left out is left out; msgspec takes the word for it as well.
        if getattr(made, name) is None:
            raise bad_parameter(name, f"{name} is {value!r}; leave it out", allowed_of(kind, name))
    return made


def converted(kind: type[T], found: object, *, is_text: bool = False) -> T:
    """Return what was given as its struct; ``is_text`` reads numbers out of text. Raises Problem.

    Numbers are finite, and text has no NUL and no half of a character.
    """
    try:
        made = msgspec.convert(found, kind, strict=not is_text)
    except msgspec.ValidationError as error:
        raise _refused(kind, str(error)) from None
    for name, value in _leaves(made):
        if isinstance(value, float) and not math.isfinite(value):
            raise bad_parameter(name, f"{name} is {value}; give a finite number", "a number")
        if isinstance(value, str) and not _is_storable(value):
            raise bad_parameter(name, f"{name} has characters that no text may have")
    return made


def _leaves(made: Struct) -> Iterable[tuple[str, object]]:
    for name in made.__struct_fields__:
        value = getattr(made, name)
        if isinstance(value, Struct):
            yield from _leaves(value)
        elif isinstance(value, list):
            yield from ((name, one) for one in value)
        else:
            yield name, value


def _is_storable(text: str) -> bool:
    try:
        return "\0" not in text and bool(text.encode()) == bool(text)
    except UnicodeEncodeError:
        return False


def _refused(kind: type[Struct], words: str) -> Problem:
    """Return msgspec's words as a problem that names the parameter and what it may be."""
    place = _PLACE.search(words) or _FIELD.search(words)
    name = place[1] if place else ""
    if field := _FIELD.search(words):
        name = field[1]
        if "unknown" in words:
            allowed = list(kind.__struct_fields__)
            return bad_parameter(name, f"There is no parameter {name!r} here", allowed)
        return bad_parameter(name, f"{name} is missing; it has to be given", allowed_of(kind, name))
    said = words.split(" - at ")[0].replace("`", "")
    return bad_parameter(name, f"{name or 'The body'}: {said}", allowed_of(kind, name))


def allowed_of(kind: type[Struct], name: str) -> object:
    """Return what the schema says of one field, without its words; what is left out is no value."""
    schema = msgspec.json.schema(kind)
    found = schema["$defs"][kind.__name__]["properties"].get(name)
    if not isinstance(found, dict):
        return None
    for one in found.get("anyOf", ()):
        found |= one if one != {"type": "null"} else {}
    told = {key: value for key, value in found.items() if key not in _UNTOLD}
    return None if "$ref" in told else told


def timeframe_of(text: str) -> str:
    """Return the timeframe's own name; labels such as 1m count too. Raises Problem."""
    by_label = {label: name for name, label in TIMEFRAME_LABELS.items()}
    name = by_label.get(text.strip(), text.strip())
    if name not in TIMEFRAMES:
        raise bad_parameter(
            "timeframe", f"{text!r} is not a timeframe; use one of {', '.join(TIMEFRAMES)}",
            [*TIMEFRAMES, *by_label],
        )  # fmt: skip
    return name


def time_of(name: str, text: str | None) -> datetime | None:
    """Return a time as naive UTC. Raises Problem."""
    if text is None:
        return None
    try:
        if re.fullmatch(r"\d{1,7}|\d{9,14}", text, re.ASCII):  # eight are a date: 20261101
            if int(text) > _LAST_MS:
                raise ValueError
            return _EPOCH + timedelta(milliseconds=int(text))
        # A plus sign in a query is a space.
        found = datetime.fromisoformat(text.strip().replace(" ", "+") if "T" in text else text)
        found = found if found.tzinfo is None else found.astimezone(UTC).replace(tzinfo=None)
        if not 1970 <= found.year < 2200:
            raise ValueError
    except (ValueError, OverflowError):
        raise bad_parameter(
            name, f"{name} is {text!r}; write 2026-11-01T12:00:00Z, or milliseconds since 1970",
            "ISO 8601, or epoch milliseconds; 1970 to 2199",
        ) from None  # fmt: skip
    return found
