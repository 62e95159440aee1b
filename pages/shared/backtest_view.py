"""From the controls to a backtest's run, and from its result to what the chart shows."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta

import streamlit as st

from core.backtests import load_traded
from core.backtests.charts import backtest_chart, chart_rows
from core.backtests.running import RUNNING, BacktestResult, BacktestRun
from core.charts import Spec, price_decimals
from core.live.memo import Memo
from core.live.pulse import Pulse
from core.live.traded import traded_range
from core.live.window import epoch_ms, utc, window
from core.store import Store
from pages.shared.backtest_pickers import BacktestChoice
from pages.shared.live_chart import Frame, View

# A run is shown again to whoever asks the same, for so long; then newer bars are worth a new one.
FRESH_S = 900.0
KEPT = 4
_STATE = "_backtest"
_charts = Memo(32)


@dataclass(frozen=True, slots=True)
class Running:
    """One run: what was asked, when it began (monotonic s), and a name of its own.

    ``is_live``: of this machine's data, not of a bundle's.
    """

    key: Hashable
    run: BacktestRun
    began: float
    name: str
    is_live: bool = True


_guard = threading.Lock()
_kept: OrderedDict[Hashable, Running] = OrderedDict()


def asked_run(store: Store, pulse: Pulse, choice: BacktestChoice) -> Running:
    """Return the run of what the controls say: this session's, a fresh one's, or a new one.

    Raises DataError for a range without bars or with too many.
    """
    key = (store.path, choice.spec, choice.settings, choice.range_name)

    def begin() -> BacktestRun:
        start, end = traded_range(pulse, choice.spec, choice.range_name)
        return BacktestRun(lambda: load_traded(store, choice.spec, start, end), choice.settings)

    return session_run(key, begin, fresh_s=FRESH_S)


def session_run(
    key: Hashable, make: Callable[[], BacktestRun], *, fresh_s: float, is_live: bool = True
) -> Running:
    """Return this session's run of that key, one begun less than ``fresh_s`` ago, or a new one.

    The session's run of another key is cancelled.
    """
    mine: Running | None = st.session_state.get(_STATE)
    if mine is not None:
        if mine.key == key:
            return mine
        stop(mine)
    with _guard:
        known = _kept.get(key)
        if known is None or time.monotonic() - known.began > fresh_s:
            known = Running(key, make().start(), time.monotonic(), secrets.token_hex(6), is_live)
            _kept[key] = known
        _kept.move_to_end(key)
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    st.session_state[_STATE] = known
    return known


def stop(running: Running) -> None:
    """Cancel a run that is not over, and forget it: asked again, it begins anew."""
    if running.run.standing.state == RUNNING:
        running.run.cancel()
        with _guard:
            _kept.pop(running.key, None)


def again(running: Running) -> None:
    """Forget a run, so that the newest bars are read."""
    st.session_state.pop(_STATE, None)
    running.run.cancel()
    with _guard:
        _kept.pop(running.key, None)


def forgotten(running: Running) -> bool:
    """Return whether the session has asked for another run since."""
    return st.session_state.get(_STATE) is not running


def decimals_of(result: BacktestResult) -> tuple[int, int]:
    """Return the decimals of y's and x's prices."""
    traded, market = result.traded, result.done.market
    return (
        price_decimals(traded.inputs.contracts[0].tick_size or None, float(market.close_y[-1])),
        price_decimals(traded.inputs.contracts[1].tick_size or None, float(market.close_x[-1])),
    )


def chart_frame(name: str, result: BacktestResult, seen: View | None) -> Frame:
    """Return the figure of what is seen; ``name`` is the run's."""
    market = result.done.market
    first_ms, last_ms = market.start_s[0] * 1000.0, market.start_s[-1] * 1000.0
    end_ms = last_ms + market.bar_s * 1000
    begin, end = first_ms, end_ms
    if seen is not None:
        start_ms, until_ms = seen.start_ms, seen.end_ms
        if seen.follow:
            start_ms, until_ms = end_ms - (until_ms - start_ms), end_ms
        looking = window(result.traded.spec.timeframe, start_ms, until_ms, follow=seen.follow)
        begin = epoch_ms(looking.start)
        end = end_ms if looking.end is None else epoch_ms(looking.end)
    rows = chart_rows(result.done, begin, end)
    spec = result.traded.spec
    made: Spec = _charts.get(
        (name, rows),
        lambda: backtest_chart(
            result.done, y=spec.y, x=spec.x, decimals=decimals_of(result), begin=rows[0],
            end=rows[1],
        ),
    )  # fmt: skip
    return Frame((name, rows), (name, rows), made, end_ms)


def span_ms(result: BacktestResult) -> float:
    """Return the length of what was traded, in milliseconds."""
    market = result.done.market
    return float(market.start_s[-1] - market.start_s[0] + market.bar_s) * 1000


def fold_times(result: BacktestResult, rows: tuple[int, int]) -> tuple[datetime, datetime]:
    """Return from when to when some rows were, UTC."""
    market = result.done.market
    first, last = market.start_s[rows[0]], market.start_s[rows[1] - 1]
    return utc(first * 1000.0), utc(last * 1000.0) + timedelta(seconds=market.bar_s)
