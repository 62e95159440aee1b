"""The verdict's sentence: right on cointegrated, independent, identical and too-short data."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from pair_bars import closes
from stats.series import cointegrated, independent

from core.pair_series import aligned
from core.pair_spec import PairSpec
from core.verdict import (
    Verdict,
    caveats,
    fixed_step_s,
    p_words,
    span_words,
    verdict,
    verdict_words,
    z_words,
)

SPEC = PairSpec("yusdt", "xusdt")
DAY = 86_400.0


def frame_of(logs: tuple[np.ndarray, np.ndarray]) -> pl.DataFrame:
    return aligned(SPEC, closes(np.exp(logs[0]), np.exp(logs[1])))


def said(logs: tuple[np.ndarray, np.ndarray], zscore: float | None = None) -> tuple[Verdict, str]:
    found = verdict(SPEC, frame_of(logs), span_s=DAY)
    return found, verdict_words(found, bar_s=60, zscore=zscore)


def test_a_cointegrated_pair_is_called_so_with_its_half_life_and_z() -> None:
    found, words = said(cointegrated(1, 1440, half_life=14.0, sigma=0.003), 2.31)
    assert (found.kind, found.level) == ("cointegrated", 0.01)
    assert found.half_life is not None
    assert found.half_life.bars == pytest.approx(14, rel=0.4)
    assert words.startswith("Cointegrated at 1% over the last 24 h (bootstrap p 0.0")
    assert "reverts by half in about" in words
    assert "min" in words
    assert words.endswith("z = +2.31, stretched.")


def test_independent_walks_are_indistinguishable_from_noise() -> None:
    found, words = said(independent(4, 1440), -0.4)
    assert found.kind == "noise"
    assert found.half_life is None
    assert words.startswith("Indistinguishable from noise over the last 24 h (bootstrap p ")
    assert words.endswith("z = −0.40.")
    assert "reverts" not in words


def test_most_independent_pairs_are_noise() -> None:
    kinds = [verdict(SPEC, frame_of(independent(s, 300)), span_s=18_000).kind for s in range(30)]
    assert kinds.count("noise") >= 26


def test_too_few_bars_say_nothing_however_well_they_fit() -> None:
    found, words = said(cointegrated(1, 60, half_life=2.0))
    assert (found.kind, found.bars, found.bootstrap) == ("short", 60, None)
    assert words == "Too short to say over the last 24 h: 60 bars; 100 are needed."


def test_no_bar_at_all_is_too_short_as_well() -> None:
    empty = frame_of(cointegrated(1, 50)).clear()
    assert verdict(SPEC, empty, span_s=60).kind == "short"


def test_the_same_asset_twice_is_not_tested() -> None:
    y, _ = independent(1, 500)
    found, words = said((y, y))
    assert found.kind == "same"
    assert "same asset" in words
    assert found.bootstrap is None


def test_a_leg_that_never_moves_is_refused_in_words() -> None:
    y, _ = independent(1, 500)
    found, words = said((y, np.zeros(500)))
    assert found.kind == "short"
    assert "constant" in words


def test_the_same_bars_give_the_same_verdict_every_time() -> None:
    logs = cointegrated(5, 700, half_life=60.0)
    assert said(logs)[0] == said(logs)[0]


def test_long_ranges_are_judged_on_at_most_1440_rows() -> None:
    found, _ = said(cointegrated(2, 20_000, half_life=100.0))
    assert found.bootstrap is not None
    assert found.bootstrap.n <= 1440
    assert found.bars == 20_000


@pytest.mark.parametrize(
    ("span_s", "bar_s", "step"),
    [(900, 1, 60), (3600, 1, 300), (86_400, 60, 3600), (604_800, 60, 28_800), (3600, 900, 900),
     (1e9, 60, 86_400)],
)  # fmt: skip
def test_verdicts_fall_on_times_that_divide_a_day(span_s: float, bar_s: int, step: int) -> None:
    assert fixed_step_s(span_s, bar_s) == step
    assert 86_400 % step == 0


def test_words_for_numbers() -> None:
    assert [span_words(s) for s in (45, 840, 5400, 86_400, 604_800)] == [
        "45 s", "14 min", "90 min", "24 h", "7 d",
    ]  # fmt: skip
    assert [p_words(p) for p in (0.0, 0.0042, 0.05, 0.31, 1.0)] == [
        "0.001", "0.004", "0.050", "0.31", "1.00",
    ]  # fmt: skip
    assert z_words(-2.0) == "z = −2.00, stretched"


def test_caveats_say_what_the_verdict_is_not() -> None:
    noise, _ = said(independent(4, 400))
    assert any("Not proof of independence" in line for line in caveats(noise, bar_s=60))
    found, _ = said(cointegrated(1, 1440, half_life=14.0))
    assert any("in-sample" in line for line in caveats(found, bar_s=60))
