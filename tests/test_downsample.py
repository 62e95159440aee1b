"""Thinning: what may not get lost, how many rows stay, and that they stay as rows are appended."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.downsample import FloatArray, thinned


def walks(rows: int, columns: int = 6, seed: int = 1) -> list[FloatArray]:
    random = np.random.default_rng(seed)
    return [random.normal(size=rows).cumsum() for _ in range(columns)]


@given(st.integers(0, 900), st.integers(2, 300), st.integers(1, 4), st.integers(0, 3))
def test_rows_are_sorted_unique_and_span_the_whole(
    rows: int, points: int, columns: int, seed: int
) -> None:
    found = thinned(walks(rows, columns, seed), points)
    assert found.dtype == np.int64
    assert np.all(np.diff(found) > 0)
    if rows:
        assert (found[0], found[-1]) == (0, rows - 1)
    if rows <= points:
        assert len(found) == rows


@pytest.mark.parametrize("rows", [2_401, 3_600, 20_000, 86_400])
def test_about_as_many_rows_as_asked_for(rows: int) -> None:
    found = thinned(walks(rows), 2_400)
    assert 0.75 * 2_400 <= len(found) <= 1.05 * 2_400


@given(st.integers(0, 20))
def test_every_columns_extremes_are_kept(seed: int) -> None:
    columns = walks(5_000, seed=seed)
    found = set(thinned(columns, 300).tolist())
    for column in columns:
        assert {int(column.argmin()), int(column.argmax())} <= found


def test_a_spike_of_one_row_in_one_column_is_kept() -> None:
    columns = walks(50_000)
    columns[4][31_415] += 1e6
    assert 31_415 in thinned(columns, 500)


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_the_choice_does_not_hang_on_the_scale_of_prices(scale: float) -> None:
    columns = walks(20_000)
    scaled = [scale * (1e4 + column) for column in columns]
    assert np.mean(np.isin(thinned(scaled, 2_000), thinned(columns, 2_000))) > 0.99


def test_gaps_stay_open_and_their_edges_stay() -> None:
    columns = walks(10_000, 2)
    columns[0][:500] = np.nan
    columns[1][4_000:4_010] = np.inf
    found = set(thinned(columns, 400).tolist())
    assert {500, 3_999, 4_000, 4_010} <= found


def test_columns_without_any_value_do_no_harm() -> None:
    columns = [*walks(10_000, 2), np.full(10_000, np.nan), np.zeros(10_000)]
    found = thinned(columns, 500)
    assert 200 <= len(found) <= 525


def test_values_that_come_and_go_row_by_row_do_not_fill_the_figure() -> None:
    columns = walks(10_000, 3)
    columns[0][::2] = np.nan
    assert len(thinned(columns, 600)) <= 630


def test_an_appended_row_changes_the_choice_in_the_last_stretch_alone() -> None:
    columns = walks(100_001)
    before = thinned([column[:-1] for column in columns], 2_400)
    after = thinned(columns, 2_400)
    early = 90_000
    extremes = {int(f(column)) for column in columns for f in (np.argmin, np.argmax)}
    moved = set(before[before < early].tolist()) ^ set(after[after < early].tolist())
    assert moved <= extremes


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="points is 1"):
        thinned(walks(10), 1)
    with pytest.raises(ValueError, match=r"\[9, 10\] rows"):
        thinned([np.zeros(9), np.zeros(10)], 5)


def test_nothing_to_draw_is_nothing() -> None:
    assert thinned([], 100).tolist() == []
    assert thinned([np.zeros(0)], 100).tolist() == []
