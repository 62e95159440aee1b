"""The field's mini backtest, by hand and against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest

from core.backtest.classic import classic


def test_a_trade_by_hand() -> None:
    z = np.array([np.nan, 0.5, 2.5, 3.0, 1.0, -0.5, -2.1, -1.0, 0.2, 2.2, 2.0])
    done = classic(z)
    assert done.trades.rows() == [
        (-1, 2, 5, 2.5, -0.5, 3.0),
        (1, 6, 8, -2.1, 0.2, pytest.approx(2.3)),
    ]
    # Short from 2.5: +3.0 at −0.5; long from −2.1: +2.3 at 0.2; short again from 2.2, open: +0.2.
    assert done.equity == pytest.approx([0, 0, 0, -0.5, 1.5, 3.0, 3.0, 4.1, 5.3, 5.3, 5.5])


@pytest.mark.parametrize("seed", range(20))
def test_it_is_what_a_plain_loop_gives(seed: int) -> None:
    rng = np.random.default_rng(seed)
    z = np.convolve(rng.normal(0, 0.6, 600), 0.95 ** np.arange(60))[:600]
    z[:30] = np.nan
    z[rng.random(600) < 0.05] = np.nan
    side, gains, entry, account, last = 0, [], 0.0, 0.0, np.nan
    equity = []
    for value in z:
        if not np.isnan(value):
            if side:
                account += side * (value - last)
                if side * value >= 0:
                    gains.append(side * (value - entry))
                    side = 0
            if not side and abs(value) > 2:
                side, entry = (-1 if value > 0 else 1), value
            last = value
        equity.append(account)
    done = classic(z)
    assert done.trades["gain"].to_list() == pytest.approx(gains)
    assert done.equity == pytest.approx(np.array(equity))
    assert len(gains) > 3


@pytest.mark.parametrize("z", [[], [np.nan] * 5, [0.1, -0.2, 1.9]])
def test_without_a_signal_nothing_happens(z: list[float]) -> None:
    done = classic(np.array(z, dtype=np.float64))
    assert done.trades.is_empty()
    assert not done.equity.any()
