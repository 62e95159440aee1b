"""From the controls and the browser's view to what Prices shows, shared by all sessions."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import polars as pl

from core.bar_sql import TIMEFRAMES, Blend, bars_sql
from core.charts import Spec, prices_chart
from core.live.asking import Answer
from core.live.feeder import Feeder
from core.live.pulse import WRITING, Pulse, dataset_of
from core.live.questions import Bars, Coverage
from core.live.window import RANGES, Window, epoch_ms, timeframe_label, utc, window
from core.origin_marks import origin_words
from core.summary import sparklines, summary
from pages.shared.cards import Card, price_cards
from pages.shared.live_chart import Frame, View

KEPT = 256
_cache: OrderedDict[Hashable, Any] = OrderedDict()
_cache_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Choice:
    """What the controls say."""

    symbols: tuple[str, ...]
    timeframe: str
    range_name: str
    zone: str

    @property
    def nonce(self) -> str:
        """What the browser's own view belongs to: another range starts it anew."""
        return self.range_name


@dataclass(frozen=True, slots=True)
class PriceView:
    """Everything one refresh of Prices shows."""

    frame: Frame
    window: Window
    question: Bars
    answer: Answer
    cards: tuple[Card, ...]
    note: str
    badge: str
    span_ms: float

    def sql(self) -> str:
        """Return the SQL that read these bars."""
        found = {origin for bars in self.answer.value.values() for origin in bars["origin"]}
        blend = Blend(
            klines=bool(found & {"klines", "mixed"}),
            uploaded="upload" in found,
            dataset=any("@" in symbol for symbol in self.question.symbols),
        )
        return bars_sql(self.window.timeframe, blend)

    def seen(self) -> tuple[datetime, datetime]:
        """Return from when to when the view reaches."""
        return utc(self.window.seen_from_ms), utc(self.window.seen_to_ms)

    def shown(self) -> pl.DataFrame:
        """Return exactly the bars in view, all symbols below each other."""
        begin, end = self.seen()
        step = pl.duration(milliseconds=TIMEFRAMES[self.window.timeframe] * 1000)
        frames: list[pl.DataFrame] = list(self.answer.value.values())
        return pl.concat(frames).filter(pl.col("ts") + step > begin, pl.col("ts") < end)


def shared(key: Hashable, build: Callable[[], Any]) -> Any:
    """Return what some session built for the key, or build it for all of them."""
    with _cache_lock:
        if key in _cache:
            _cache.move_to_end(key)
            return _cache[key]
    value = build()
    with _cache_lock:
        _cache[key] = value
        while len(_cache) > KEPT:
            _cache.popitem(last=False)
    return value


def price_view(feed: Feeder, pulse: Pulse, choice: Choice, seen: View | None) -> PriceView | None:
    """Return what to show, None while none of the symbols has a trade.

    Raises StoreError where nothing was read yet and nothing can be.
    """
    known = [pulse.bounds(symbol, choice.timeframe) for symbol in choice.symbols]
    found = [bound for bound in known if bound]
    if not found:
        return None
    first_ms = min(epoch_ms(first) for first, _ in found)
    last_ms = max(epoch_ms(last) for _, last in found)
    looking = _window(choice, seen, first_ms, last_ms)
    question = Bars(choice.symbols, looking.timeframe, looking.start, looking.end)
    looking = _clipped(looking)
    coverage = _coverage_questions(choice, looking)
    answer = feed.ask(question, *coverage)
    view = (feed.store.path, question)
    version = (answer.version, _forming_ms(answer, looking, pulse))
    spec = shared((view, version), lambda: _spec(answer, looking, pulse))
    cards = shared(
        (view, version, looking.seen_from_ms, looking.seen_to_ms),
        lambda: _cards(answer, looking, pulse, choice),
    )
    stand = shared(
        (view, version, looking.seen_from_ms, looking.seen_to_ms, "stand"),
        lambda: _stand(answer, looking),
    )
    return PriceView(
        frame=Frame(view, version, spec, last_ms),
        window=looking,
        question=question,
        answer=answer,
        cards=cards,
        note=_note(choice, looking),
        badge=_badge(
            "" if dataset_of(choice.symbols[0]) else _coverage(feed, coverage),
            *stand,
            f"{looking.timeframe_label} bars",
        ),
        span_ms=_span_ms(choice, first_ms, last_ms),
    )


def _span_ms(choice: Choice, first_ms: float, last_ms: float) -> float:
    span = RANGES[choice.range_name]
    return max(last_ms - first_ms, 60_000.0) if math.isinf(span) else span * 1000


def _window(choice: Choice, seen: View | None, first_ms: float, last_ms: float) -> Window:
    span = _span_ms(choice, first_ms, last_ms)
    if seen is None:
        # Up to the end of the newest second; a bar still forming lies in view whole.
        return window(choice.timeframe, last_ms - span, last_ms + 1000, follow=True)
    if seen.follow:
        span = seen.end_ms - seen.start_ms
        return window(choice.timeframe, last_ms - span, last_ms + 1000, follow=True)
    return window(choice.timeframe, seen.start_ms, seen.end_ms, follow=False)


def _clipped(looking: Window) -> Window:
    """Snap what is seen to whole bars, so that sessions share the numbers over it."""
    bar = TIMEFRAMES[looking.timeframe] * 1000
    begin = math.floor(looking.seen_from_ms / bar) * bar
    end = math.ceil(looking.seen_to_ms / bar) * bar
    return replace(looking, seen_from_ms=begin, seen_to_ms=end)


def _forming_ms(answer: Answer, looking: Window, pulse: Pulse) -> float | None:
    """Return from when on a bar still forms: the newest one's start, while a worker writes."""
    if looking.end is not None or pulse.health.state not in WRITING:
        return None
    bar = TIMEFRAMES[looking.timeframe] * 1000
    now_ms = datetime.now(UTC).timestamp() * 1000
    newest = max(
        (epoch_ms(bars["ts"][-1]) for bars in answer.value.values() if bars.height), default=0.0
    )
    return newest if newest + bar + 1500 > now_ms else None


def _spec(answer: Answer, looking: Window, pulse: Pulse) -> Spec:
    return prices_chart(
        answer.value,
        timeframe_s=TIMEFRAMES[looking.timeframe],
        tick_sizes=pulse.tick_sizes,
        forming_from_ms=_forming_ms(answer, looking, pulse),
    )


def _cards(answer: Answer, looking: Window, pulse: Pulse, choice: Choice) -> tuple[Card, ...]:
    symbol = choice.symbols[0]
    seconds = TIMEFRAMES[looking.timeframe]
    bars = _seen(answer.value[symbol], looking)
    base, quote = _assets(pulse, symbol)
    return price_cards(
        summary(bars, seconds),
        sparklines(bars, seconds),
        tick_size=pulse.tick_sizes.get(symbol),
        base=base,
        quote=quote,
    )


def _seen(bars: pl.DataFrame, looking: Window) -> pl.DataFrame:
    begin, end = utc(looking.seen_from_ms), utc(looking.seen_to_ms)
    return bars.filter(pl.col("ts").is_between(begin, end, closed="left"))


def _badge(*parts: str) -> str:
    return " · ".join(part for part in parts if part)


def _stand(answer: Answer, looking: Window) -> tuple[str, str]:
    """Return the badge's words on what the visible bars are made of."""
    seen = [_seen(bars, looking) for bars in answer.value.values()]
    trades = sum(int(bars["trades"].sum()) for bars in seen)
    return (f"{trades:,} trades" if trades else "", origin_words(seen))


def _assets(pulse: Pulse, symbol: str) -> tuple[str, str]:
    """Return what is traded and in what, as far as the exchange's list is known."""
    if pulse.contracts.is_empty():
        return "", "quote"
    found = pulse.contracts.filter(pl.col("symbol") == symbol.partition("@")[0])
    return (found["base_asset"][0], found["quote_asset"][0]) if found.height else ("", "quote")


def _coverage_questions(choice: Choice, looking: Window) -> list[Coverage]:
    minute = 60_000
    begin = utc(math.floor(looking.seen_from_ms / minute) * minute)
    end = None if looking.end is None else utc(math.ceil(looking.seen_to_ms / minute) * minute)
    return [Coverage(symbol, begin, end) for symbol in choice.symbols]


def _coverage(feed: Feeder, questions: list[Coverage]) -> str:
    """Return the badge's words on how complete the visible range is, over all symbols.

    A range that nobody looked at before has no answer yet: the one before it stands meanwhile.
    """
    place = (feed.store.path, tuple(question.symbol for question in questions))
    answers = [feed.known(question) for question in questions]
    found = [answer.value for answer in answers if answer]
    if len(found) == len(questions):
        text = coverage_words(sum(one.held for one in found), sum(one.missing for one in found))
        with _cache_lock:
            _cache[place] = text
        return text
    with _cache_lock:
        return str(_cache.get(place, "coverage …"))


def coverage_words(held: int, missing: int) -> str:
    """Return how complete a range is: never 100% while a trade is missing."""
    if not held + missing:
        return "coverage – (no trades in view)"
    if not missing:
        return "coverage 100%"
    share = min(100 * held / (held + missing), 99.99)
    return f"coverage {share:.2f}% · {missing:,} missing"


def _note(choice: Choice, looking: Window) -> str:
    if not looking.is_coarser:
        return ""
    shown, chosen = timeframe_label(looking.timeframe), timeframe_label(choice.timeframe)
    return f"showing {shown} bars: zoom in for {chosen}"
