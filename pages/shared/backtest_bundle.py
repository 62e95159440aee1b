"""A backtest out of a bundle: run again from the bars it holds, and held against its results."""

from __future__ import annotations

import math
from pathlib import Path

import streamlit as st

from core.backtests import BacktestResult, BacktestRun, traded_of
from core.backtests.bundle import BacktestBundle, bundle_differences
from core.bundle_kept import kept_backtest
from core.live.memo import Memo
from pages.shared.backtest_pickers import BacktestChoice
from pages.shared.backtest_view import Running, session_run
from pages.shared.bundle_line import bundle_line, computed_again

_opened = Memo(4)
_compared = Memo(8)


def opened_backtest(db: Path, name: str) -> BacktestBundle:
    """Return a kept bundle; raises BadFile where there is none."""
    found: BacktestBundle = _opened.get((db, name), lambda: kept_backtest(db, name))
    return found


def choice_of(found: BacktestBundle, zone: str) -> BacktestChoice:
    """Return what the bundle's maker had chosen, with this session's time zone."""
    asked = found.manifest
    return BacktestChoice(asked.spec, asked.settings, asked.range, zone)


def bundle_run(db: Path, name: str, found: BacktestBundle) -> Running:
    """Return the run of the bundle's bars, begun where there is none yet."""
    return session_run(
        ("bundle", db, name),
        lambda: BacktestRun(lambda: traded_of(found.inputs), found.manifest.settings),
        fresh_s=math.inf,
        is_live=False,
    )


def bundle_head(found: BacktestBundle) -> None:
    """Say that this is a bundle, how old it is and what was asked."""
    asked = found.manifest
    spec, rules = asked.spec, asked.settings.rules
    bundle_line(
        f"Backtest of **{spec.y.upper()} / {spec.x.upper()}**", asked.made_at, asked.made_by,
        f"{asked.range} of {spec.timeframe} bars · {spec.method} · window {spec.window_bars} · "
        f"enter {rules.enter:g} · exit {rules.exit:g}",
    )  # fmt: skip


def bundle_compared(name: str, found: BacktestBundle, again: BacktestResult) -> None:
    """Say whether the run here gave what the bundle holds."""
    with st.container(key="bundle-compared"):
        computed_again(_compared.get(name, lambda: bundle_differences(found, again)))
