"""The engine against a plain loop, trade by trade, on random markets and settings."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from backtest.reference import Reference

from core.backtest import (
    BacktestSettings,
    Contract,
    Execution,
    Funding,
    Market,
    Money,
    Rules,
    Signals,
    backtest,
    engine,
    leg,
    market,
)

BAR_S = 60
START = np.datetime64("2026-01-01T07:00", "ms")


def random_market(rng: np.random.Generator, rows: int, *, gaps: bool) -> Market:
    """Two walks that come back to each other, each leg with bars missing of its own."""
    x = np.cumsum(rng.normal(0, 1e-3, rows))
    y = x + np.convolve(rng.normal(0, 2e-3, rows), 0.9 ** np.arange(30))[:rows]
    frames = []
    for logs, base in ((y, 1.3), (x, 250.0)):
        close = base * np.exp(logs)
        open_ = np.concatenate((close[:1], close[:-1])) * (1 + rng.normal(0, 1e-5, rows))
        high = np.maximum(open_, close) * (1 + rng.uniform(0, 1e-3, rows))
        low = np.minimum(open_, close) * (1 - rng.uniform(0, 1e-3, rows))
        volume = rng.uniform(1, 9, rows)
        frame = pl.DataFrame(
            {
                "ts": pl.Series(START + np.arange(rows) * np.timedelta64(BAR_S * 1000, "ms")),
                "open": open_, "high": high, "low": low, "close": close, "volume": volume,
                "quote_volume": volume * (low + (high - low) * rng.random(rows)),
            }
        )  # fmt: skip
        frames.append(frame.filter(pl.Series(rng.random(rows) > (0.15 if gaps else -1))))
    by, bx = frames
    joined = by.select("ts", price_y="close").join(
        bx.select("ts", price_x="close"), on="ts", maintain_order="left"
    )
    settle = np.sort(rng.choice(np.arange(60, rows * BAR_S), 6, replace=False)) // 5 * 5
    begin = int(START.astype("int64") // 1000)
    rates = [
        Funding(
            begin + settle,
            rng.normal(0, 1e-3, 6),
            np.where(rng.random(6) < 0.5, base * np.exp(rng.normal(0, 0.01, 6)), np.nan),
        )
        for base in (1.3, 250.0)
    ]
    return market(joined, leg(by), leg(bx), bar_s=BAR_S, funding_y=rates[0], funding_x=rates[1])


def random_settings(rng: np.random.Generator) -> BacktestSettings:
    enter = float(rng.uniform(0.6, 1.6))
    pick = rng.choice
    return BacktestSettings(
        Rules(
            enter=enter,
            exit=float(rng.uniform(-0.5, 0.5)),
            stop=float(enter + rng.uniform(0.2, 1.5)) if rng.random() < 0.5 else None,
            time_stop_bars=int(rng.integers(1, 30)) if rng.random() < 0.5 else None,
            time_stop_half_lives=float(rng.uniform(0.5, 4)) if rng.random() < 0.4 else None,
            sides=str(pick(["both", "long", "short"])),  # type: ignore[arg-type]
            cooldown_bars=int(rng.integers(0, 6)),
            reentry=str(pick(["level", "cross"])),  # type: ignore[arg-type]
            rebalance_bars=int(rng.integers(1, 12)) if rng.random() < 0.3 else None,
        ),
        Execution(
            fill=str(pick(["vwap", "open"])),  # type: ignore[arg-type]
            is_maker=bool(rng.random() < 0.2),
            slippage=float(rng.uniform(0, 3)),
            slippage_kind=str(pick(["bps", "ticks", "range"])),  # type: ignore[arg-type]
            apart_bars=int(rng.integers(0, 3)),
        ),
        Money(
            capital=float(10 ** rng.uniform(1.3, 5)),
            leverage=float(rng.uniform(0.5, 3)),
            sizing=str(pick(["beta", "dollar", "volatility"])),  # type: ignore[arg-type]
            target_volatility=float(rng.uniform(0.5, 3)),
            gate=float(rng.uniform(0.1, 2)) if rng.random() < 0.3 else None,
            lowest_beta=0.5,
            highest_beta=1.6,
        ),
        Contract(1e-4, float(pick([0, 0.1, 1])), float(pick([0, 5, 60]))),
        Contract(1e-2, float(pick([0, 1e-3])), float(pick([0, 5]))),
    )


@pytest.mark.parametrize("seed", range(300))
def test_the_engine_agrees_with_a_plain_loop_trade_by_trade(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The gate opens its eyes after 30 trades: more than such short markets see.
    monkeypatch.setattr(engine, "TRADES_FOR_CAPTURE", 3)
    rng = np.random.default_rng(seed)
    made = random_market(rng, int(rng.integers(60, 220)), gaps=seed % 2 == 0)
    settings = random_settings(rng)
    zscore = np.convolve(rng.normal(0, 1, made.rows), 0.8 ** np.arange(20))[: made.rows] * 0.7
    zscore[rng.random(made.rows) < 0.03] = np.nan
    zscore[:5] = np.nan
    is_log = bool(rng.random() < 0.6)
    beta = rng.uniform(0.4, 1.7, made.rows)
    if not is_log:
        beta *= made.close_y / made.close_x
    lives = rng.exponential(4, made.rows)
    lives[rng.random(made.rows) < 0.1] = np.inf
    lives[rng.random(made.rows) < 0.1] = np.nan
    window = int(rng.integers(3, 20))
    signals = Signals(
        zscore,
        beta,
        rng.uniform(1e-3, 4e-3, made.rows) * (1.0 if is_log else made.close_y),
        is_log,
        half_life=lives,
        window_bars=window,
    )
    found = backtest(made, signals, settings).books
    slow = Reference(made, signals, settings, known_from=3).run()
    mark = {"y": float(made.close_y[-1]), "x": float(made.close_x[-1])}
    assert found.trades.height == len(slow.trades)
    for row, trade in zip(found.trades.iter_rows(named=True), slow.trades, strict=True):
        assert row["decided_row"] == trade.decided
        assert row["side"] == ("long" if trade.side > 0 else "short")
        assert row["reason"] == trade.reason
        assert row["size_y"] == pytest.approx(trade.size_y, rel=1e-12)
        assert row["size_x"] == pytest.approx(trade.size_x, rel=1e-12)
        assert row["entry_ts"].timestamp() == trade.entry_s
        assert row["funding"] == pytest.approx(trade.funding, rel=1e-9, abs=1e-12)
        assert row["net"] == pytest.approx(trade.net(mark), rel=1e-9, abs=1e-7)
        assert (row["exit_ts"] is None) == (trade.exit_s is None)
    total = found.start + found.trades["net"].sum()
    assert found.end == pytest.approx(total, rel=1e-12, abs=1e-9)


def test_the_random_settings_make_every_kind_of_trade(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "TRADES_FOR_CAPTURE", 3)
    reasons: dict[str, int] = {}
    for seed in range(60):
        rng = np.random.default_rng(seed)
        made = random_market(rng, int(rng.integers(60, 220)), gaps=seed % 2 == 0)
        settings = random_settings(rng)
        zscore = np.convolve(rng.normal(0, 1, made.rows), 0.8 ** np.arange(20))[: made.rows] * 0.7
        beta = np.full(made.rows, 1.0)
        found = backtest(made, Signals(zscore, beta, beta, half_life=4 * beta), settings)
        for reason in [*found.books.trades["reason"], *found.refused]:
            reasons[reason] = reasons.get(reason, 0) + 1
    assert {"exit", "stop", "time stop", "open"} <= set(reasons)
    assert {"legs' bars too far apart", "below the minimum notional"} <= set(reasons)
    assert "expected capture below the cost" in reasons
    assert reasons["exit"] > 100
