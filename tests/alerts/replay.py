"""The practice exchange's trades stored as a worker stores them, rules looked at meanwhile."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import polars as pl

from core.alerts.kept import add_rule, load_events, load_standings
from core.alerts.rules import Rule
from core.alerts.seen import Heard
from core.alerts.watch import Watch
from core.commands import write_watchlist
from core.feed.practice.market import Market
from core.flush import Work, flush
from core.models import TRADE_SCHEMA, WorkerStatus
from core.pair_series import aligned, origin_of, pair_series
from core.queries import load_closes
from core.store import Store, open_store
from core.verdict import SETTLE_S

SYMBOLS = ("arbusdt", "opusdt")
# A full hour, so that bars of every timeframe begin with it.
BEGIN_MS = 1_790_000_000_000 // 3_600_000 * 3_600_000
_NONE = pl.DataFrame(schema=TRADE_SCHEMA)
STARTED = datetime(2026, 1, 1)


def market_trades(
    market: Market, begin_ms: int, end_ms: int, symbols: Sequence[str] = SYMBOLS
) -> pl.DataFrame:
    """The exchange's trades of a stretch of time, by time."""
    frames = []
    for symbol in symbols:
        block = market.trades_between(symbol, begin_ms, end_ms)
        frames.append(
            pl.DataFrame(
                {
                    "symbol": [symbol] * len(block.agg_id),
                    "agg_id": block.agg_id,
                    "ts": block.ts_ms,
                    "price": block.price,
                    "size": block.size,
                    "buyer_is_maker": block.buyer_is_maker,
                    "source": ["ws"] * len(block.agg_id),
                }
            ).with_columns(pl.col("ts").cast(pl.Datetime("ms")))
        )
    return pl.concat(frames).sort("ts", "symbol", "agg_id")


def status_row() -> WorkerStatus:
    now = datetime.now(UTC).replace(tzinfo=None)
    return WorkerStatus(
        os.getpid(), socket.gethostname(), "0", "practice:7", "live", now, now,
        0, 0, 0.0, 0.0, 0.0, 1, 0, 0, 0, "",
    )  # fmt: skip


class Replay:
    """A store that is filled flush by flush; ``now`` of each look is the end of its trades."""

    def __init__(self, path: object, symbols: Sequence[str] = SYMBOLS) -> None:
        self.store: Store = open_store(path)  # type: ignore[arg-type]
        self.store.prepare("practice:7")
        self.symbols = tuple(symbols)
        with self.store.write() as con:
            write_watchlist(con, self.symbols)
        self._begin()

    def _begin(self) -> None:
        self.watch = Watch(self.store)
        # A replay's flushes come faster than any clock: bars that form are looked at in each.
        self.watch.pace.share = math.inf

    def restart(self) -> None:
        """Begin anew, as a worker that was killed does."""
        self.watch.maker.close()
        self._begin()

    def bring(self, trades: pl.DataFrame, until_ms: int, *, is_heard: bool = True) -> int:
        """Write trades in one flush, the feed's time being ``until_ms``; returns how many fired."""
        heard = Heard(
            now=at(until_ms),
            closed_ms=dict.fromkeys(self.symbols, until_ms - int(SETTLE_S * 1000)),
            watchlist=frozenset(self.symbols),
        )
        outcome = flush(
            self.store,
            Work(trades, (), status_row(), (), heard=heard if is_heard else None),
            now_ms=until_ms,
            started_at=STARTED,
            watchlist_version=-1,
            wait_s=5.0,
            alerts=self.watch,
        )
        return outcome.fired

    def play(self, trades: pl.DataFrame, ends_ms: Iterable[int], begin_ms: int) -> None:
        """Bring trades flush by flush, each up to one of ``ends_ms``; studies are waited for."""
        for end_ms in ends_ms:
            self.bring(
                trades.filter(pl.col("ts").is_between(at(begin_ms), at(end_ms), "left")), end_ms
            )
            begin_ms = end_ms
            self.watch.maker.finish()

    def settle(self, until_ms: int) -> None:
        """Go on without trades until all that is made beside was taken up."""
        before: object = None
        for _ in range(2_000):
            self.bring(_NONE, until_ms)
            self.watch.maker.finish()
            with self.store.read() as con:
                now = {key: one.state for key, one in load_standings(con).items()}
            if now == before:
                return
            before = now
        raise AssertionError("the rules do not come to rest")

    def rule(self, rule: Rule, since_ms: int = BEGIN_MS, **more: object) -> str:
        """Add a rule that looks at what ends after a moment."""
        rule_id = add_rule(self.store, rule.condition, rule, **more)  # type: ignore[arg-type]
        with self.store.write() as con:
            con.execute("update alert_rules set since = ? where id = ?", [at(since_ms), rule_id])
        self.watch.forget()
        return rule_id

    def events(self, rule_id: str | None = None) -> list[tuple[datetime, float]]:
        """The bars and values of what fired, oldest first."""
        with self.store.read() as con:
            found = load_events(con, rule_id=rule_id, limit=100_000)
        return sorted(found.select("bar_ts", "value").iter_rows())


def pair_values(store: Store, rule: Rule) -> list[tuple[datetime, float | None]]:
    """The rule's values over all bars at once, as the Pair page computes it."""
    with store.read() as con:
        closes = load_closes(con, rule.symbols, rule.timeframe, at(0), at(2**42))
    frame = aligned(rule.spec, closes)
    rows = pair_series(rule.spec, frame, origin_of(rule.spec, frame)).rows
    return list(rows.select("ts", rule.metric).iter_rows())


def expected(
    rule: Rule, values: Sequence[tuple[datetime, float | None]], since: datetime
) -> list[datetime]:
    """The bars that fire, by what the rule means: each is asked for by itself."""
    upper, lower = rule.threshold, rule.low

    def beyond(value: float | None) -> bool:
        if value is None:
            return False
        if rule.op == "outside":
            assert lower is not None
            return value > upper or value < lower
        return value < upper if "below" in rule.op else value > upper

    inner = 1.0 if rule.rearm is None else abs(rule.rearm)

    def back(value: float | None) -> bool:
        if value is None or beyond(value):
            return False
        if rule.op == "outside":
            return abs(value) < inner
        return value > -inner if "below" in rule.op else value < inner

    found: list[int] = []
    for bar, (ts, _) in enumerate(values):
        held = values[max(0, bar - rule.hold_bars + 1) : bar + 1]
        if ts + timedelta(seconds=rule.bar_s) <= since:
            continue
        if len(held) < rule.hold_bars or not all(beyond(value) for _, value in held):
            continue
        if rule.op.startswith("crosses"):
            before = values[bar - rule.hold_bars][1] if bar >= rule.hold_bars else None
            if before is None or beyond(before):
                continue
        if found:
            if not any(back(value) for _, value in values[found[-1] + 1 : bar + 1]):
                continue
            if (ts - values[found[-1]][0]).total_seconds() < rule.cooldown_s:
                continue
        found.append(bar)
    return [values[bar][0] for bar in found]


def at(epoch_ms: int) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).replace(tzinfo=None)
