"""Which trades can be stored, and which ids can be meant."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.feed.checks import ID_LIMIT, checked_trades, plausible_ids
from core.models import TRADE_SCHEMA

JUMP = 1_000_000_000


def trades(*rows: tuple[str, int]) -> pl.DataFrame:
    many = len(rows)
    return checked_trades(
        [symbol for symbol, _ in rows],
        [agg_id for _, agg_id in rows],
        [1_760_000_000_000] * many,
        ["1"] * many,
        ["1"] * many,
        [True] * many,
        "ws",
    ).trades


def test_ids_end_where_floats_stop_being_exact() -> None:
    assert ID_LIMIT == 2**53
    assert trades(("a", 2**53 - 1), ("a", 2**53), ("a", 2**61))["agg_id"].to_list() == [2**53 - 1]


@pytest.mark.parametrize(
    ("last_ids", "kept"),
    [
        ({}, [5, 6 + JUMP, 7, 8 + JUMP]),
        ({"a": 5}, [5, 7, 8 + JUMP]),
        ({"a": 6}, [5, 6 + JUMP, 7, 8 + JUMP]),
        ({"a": 5, "b": 7}, [5, 7]),
        ({"a": 5, "b": 8, "c": 0}, [5, 7, 8 + JUMP]),
        ({"a": -1, "b": 0}, [5, 6 + JUMP, 7]),
    ],
)
def test_an_id_far_beyond_the_last_of_its_symbol_is_left_out(
    last_ids: dict[str, int], kept: list[int]
) -> None:
    frame = trades(("a", 5), ("a", 6 + JUMP), ("b", 7), ("b", 8 + JUMP))
    found, left_out = plausible_ids(frame, last_ids)
    assert found["agg_id"].to_list() == kept
    assert left_out == 4 - len(kept)
    assert found.schema == pl.Schema(TRADE_SCHEMA)
    assert (found is frame) == (not left_out)


def test_no_trades_are_plausible() -> None:
    found, left_out = plausible_ids(trades(), {"a": 1})
    assert (found.height, left_out) == (0, 0)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 60)), max_size=20),
    st.dictionaries(st.sampled_from("abcd"), st.integers(-1, 60)),
    st.integers(0, 30),
)
def test_each_row_is_judged_by_its_own_symbol(
    rows: list[tuple[str, int]], last_ids: dict[str, int], jump: int
) -> None:
    found, left_out = plausible_ids(trades(*rows), last_ids, jump=jump)
    expected = [
        (symbol, agg_id)
        for symbol, agg_id in rows
        if last_ids.get(symbol, -1) < 0 or agg_id <= last_ids[symbol] + jump
    ]
    assert found.select("symbol", "agg_id").rows() == expected
    assert left_out == len(rows) - len(expected)
