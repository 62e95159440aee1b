"""What travels to the browser: any patch applied to its block gives the figure again."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.charts import epoch_ms, prices_chart
from pages.shared.wire import Blocks, envelope, full_message, patch_message
from tests.test_charts import bars_frame
from tests.test_pair_chart import figure, pair_rows

TYPES = {"f8": np.float64, "f4": np.float32}


def opened(message: bytes) -> tuple[dict[str, Any], bytes]:
    size = int.from_bytes(message[:4], "little")
    assert (4 + size) % 8 == 0
    return json.loads(message[4 : 4 + size]), message[4 + size :]


def column(body: bytes, place: list[Any]) -> np.ndarray:
    kind, offset, count = place
    assert offset % 8 == 0
    return np.frombuffer(body, TYPES[kind], count, offset)


def rebuilt(old: dict[str, Any], message: bytes) -> list[dict[str, np.ndarray]]:
    """Apply a patch as the browser does."""
    head, body = opened(message)
    traces = []
    for trace, change in zip(old["data"], head["changes"], strict=True):
        kept = slice(change["drop"], change["drop"] + change["keep"])
        traces.append(
            {
                name: np.concatenate([trace[name][kept], column(body, place)])
                for name, place in change["columns"].items()
            }
        )
    return traces


def spec_of(first: int, last: int, *, skip: tuple[int, ...] = ()) -> dict[str, Any]:
    bars = bars_frame(last, skip=skip)[first:]
    forming = float(epoch_ms(bars["ts"])[-1]) if bars.height else None
    return prices_chart(
        {"btcusdt": bars}, timeframe_s=1, tick_sizes={"btcusdt": 0.01}, forming_from_ms=forming
    )


@given(st.integers(0, 20), st.integers(21, 40), st.integers(0, 20), st.integers(21, 60))
def test_a_patch_turns_one_figure_into_the_other(a: int, b: int, c: int, d: int) -> None:
    old, new = spec_of(a, b), spec_of(c, d)
    message = patch_message(old, new, "base")
    assert message is not None
    for trace, found in zip(new["data"], rebuilt(old, message), strict=True):
        for name, values in found.items():
            assert np.array_equal(values, trace[name])


def test_a_bar_that_comes_late_is_in_the_patch() -> None:
    old, new = spec_of(0, 40, skip=(20,)), spec_of(0, 40)
    message = patch_message(old, new, "base")
    assert message is not None
    assert np.array_equal(rebuilt(old, message)[0]["x"], new["data"][0]["x"])


def test_figures_of_another_make_are_not_patched() -> None:
    bars = bars_frame(10)
    one = prices_chart({"btcusdt": bars}, timeframe_s=1)
    two = prices_chart({"btcusdt": bars, "ethusdt": bars}, timeframe_s=1)
    assert patch_message(one, two, "base") is None


def test_sessions_share_the_block_and_a_second_more_costs_a_few_bytes() -> None:
    blocks = Blocks()
    first, _ = blocks.messages("view", 1, spec_of(0, 1500))
    second, patch = blocks.messages("view", 2, spec_of(1, 1501))
    assert second is first
    assert len(patch) < 0.05 * len(first.message)
    assert blocks.messages("view", 2, {})[1] is patch


def test_a_new_block_is_cut_when_a_patch_would_be_large() -> None:
    blocks = Blocks()
    first, _ = blocks.messages("view", 1, spec_of(0, 100))
    second, _ = blocks.messages("view", 2, spec_of(90, 400))
    assert second.base != first.base


def test_the_envelope_holds_the_sessions_words_the_patch_and_the_block() -> None:
    blocks = Blocks()
    block, patch = blocks.messages("view", 1, spec_of(0, 30))
    head, rest = opened(envelope({"zone": "utc"}, patch, block))
    assert head["zone"] == "utc"
    assert rest[: head["patch"]] == patch
    assert rest[head["patch"] :] == block.message
    assert opened(envelope({}, patch, None))[1] == patch


def test_a_column_used_twice_is_written_once() -> None:
    head, body = opened(full_message(spec_of(0, 30), "base"))
    buys, sells = (one["columns"] for one in head["traces"][2:])
    assert buys["x"] == sells["x"]
    assert np.array_equal(column(body, buys["x"]), spec_of(0, 30)["data"][2]["x"])


def pair_of(first: int, last: int) -> dict[str, Any]:
    return figure(pair_rows(last)[first:], forming_at=last - 1)


@given(st.integers(0, 20), st.integers(80, 90), st.integers(0, 20), st.integers(80, 120))
def test_lines_with_gaps_are_patched_like_candles(a: int, b: int, c: int, d: int) -> None:
    old, new = pair_of(a, b), pair_of(c, d)
    message = patch_message(old, new, "base")
    assert message is not None
    for trace, found in zip(new["data"], rebuilt(old, message), strict=True):
        for name, values in found.items():
            assert np.array_equal(values, trace[name], equal_nan=True)


def test_gaps_do_not_make_a_second_more_costly() -> None:
    """NaN is not equal to itself, but no reason to send it again."""
    old, new = pair_of(0, 2000), pair_of(0, 2001)
    patch = patch_message(old, new, "base")
    assert patch is not None
    changes = opened(patch)[0]["changes"]
    assert all(change["keep"] == 2000 for change in changes)
    assert len(patch) < 0.05 * len(full_message(new, "base"))


def test_a_shared_time_column_is_written_once_in_a_patch() -> None:
    patch = patch_message(pair_of(0, 200), pair_of(0, 201), "base")
    assert patch is not None
    places = [change["columns"]["x"] for change in opened(patch)[0]["changes"]]
    assert all(place == places[0] for place in places)


def test_headers_are_json_that_a_browser_reads() -> None:
    """Python writes NaN and Infinity, which JSON does not have."""
    for message in (full_message(pair_of(0, 50), "base"), full_message(pair_of(0, 0), "base")):
        size = int.from_bytes(message[:4], "little")
        json.loads(message[4 : 4 + size], parse_constant=pytest.fail)
