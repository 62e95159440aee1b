"""A stored pair's backtest: the same signals as the Pair page, the file's funding and contracts."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from backtest.results import legs, spec_of
from pair_bars import START

from core.backtest import BacktestSettings, Execution
from core.backtests import Traded, load_traded, loading, run_backtest
from core.errors import NotEnoughData
from core.pair_spec import METHODS
from core.pairs import analyse_pair
from core.store import Store

BARS = 2_000


def keep(store: Store) -> None:
    """Klines of two legs that belong together, settlements and contracts."""
    rows = legs(bars=BARS).with_columns(trades=9, taker_buy_volume=2.0)
    with store.write() as con:
        con.register("made", rows)
        con.execute("insert into klines by name select * from made")
        for hour in (8, 16, 24):
            at = START + timedelta(hours=hour, milliseconds=3)
            con.execute("insert into funding_rates values ('yusdt', ?, 0.001, 101.0)", [at])
        con.execute(
            "insert into symbols values "
            "('yusdt', 'TRADING', 'PERPETUAL', 'Y', 'USDT', 0.01, 0.1, 5.0)"
        )


@pytest.fixture
def kept(store: Store) -> Store:
    keep(store)
    return store


def load(store: Store, method: str = "refit", first: int = 500) -> Traded:
    start = START + timedelta(minutes=first)
    return load_traded(store, spec_of(method), start, START + timedelta(minutes=BARS))


@pytest.mark.parametrize("method", METHODS)
def test_the_signals_are_those_of_the_pair_page(kept: Store, method: str) -> None:
    traded = load(kept, method)
    start, end = START + timedelta(minutes=500), START + timedelta(minutes=BARS)
    shown = analyse_pair(kept, spec_of(method), start, end).series
    assert traded.rows["ts"].to_list() == shown["ts"].to_list()
    for name in ("zscore", "beta"):
        drawn = shown[name].fill_null(np.nan).to_numpy()
        np.testing.assert_array_equal(getattr(traded.signals, name), drawn)
    assert traded.signals.is_in_sample == (method in ("ols", "tls"))


def test_legs_funding_and_contracts_are_the_file_s(kept: Store) -> None:
    traded = load(kept)
    market = traded.market
    assert market.rows == BARS - 500
    assert market.y.has_vwap
    assert (market.y.vwap <= market.y.high).all()
    settled = [np.datetime64(START + timedelta(hours=hour), "s").astype(int) for hour in (16, 24)]
    assert market.funding_y.at_s.tolist() == settled
    assert market.funding_x.at_s.size == 0
    y, x = traded.inputs.contracts
    assert (y.tick_size, y.step_size, x.step_size) == (0.01, 0.1, 0.0)
    assert traded.klines_share == 1.0


def test_it_runs_with_them_and_says_what_it_assumes(kept: Store) -> None:
    done = run_backtest(load(kept), BacktestSettings(execution=Execution(slippage=0.0)))
    assert done.books.trades.height > 10
    steps = done.books.trades["size_y"].abs().to_numpy() / 0.1
    assert steps == pytest.approx(np.round(steps))
    assert any("no funding rates of x" in one for one in done.assumptions)
    net = done.books.trades["net"].sum()
    assert done.books.end == pytest.approx(done.books.start + net, abs=1e-9)


def test_long_ranges_are_read_in_parts(kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load(kept)
    monkeypatch.setattr(loading, "BARS_A_LEASE", 111)
    parts = load(kept)
    assert parts.rows.equals(whole.rows)
    np.testing.assert_array_equal(parts.market.y.vwap, whole.market.y.vwap)
    np.testing.assert_array_equal(parts.signals.zscore, whole.signals.zscore)


def test_legs_that_share_no_bars_are_refused_in_words(kept: Store) -> None:
    later = START + timedelta(days=30)
    with pytest.raises(NotEnoughData, match="share 0 1min bars"):
        load_traded(kept, spec_of(), later, later + timedelta(hours=1))
