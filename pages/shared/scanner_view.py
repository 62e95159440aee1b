"""What Scanner shows of a scan: cards, the table, one pair's detail, the list of scans."""

from __future__ import annotations

from typing import Any

import polars as pl
import streamlit as st

from core.live.window import timeframe_label
from core.pair_spec import PairSpec
from core.scan_charts import life_words
from core.scanning.report import (
    CONFIRMED,
    EXPLAINED,
    FILTERED,
    NOISE,
    PASSED,
    SAME,
    SURVIVED,
    ScanReport,
)
from core.scanning.words import level_words, survival_words
from pages.shared.cards import UNKNOWN, Card
from pages.shared.downloads import last_shown
from pages.shared.frame import counted

STAGE_WORDS = {
    EXPLAINED: "○ explained",
    CONFIRMED: "✔ confirmed", SURVIVED: "◆ survived", PASSED: "◇ passed q", FILTERED: "− filtered",
    NOISE: "· noise", SAME: "＝ same asset",
}  # fmt: skip


def scan_cards(report: ScanReport) -> tuple[Card, ...]:
    """Return the row of numbers."""
    settings, noise = report.settings, report.noise
    correction = "Yekutieli" if settings.correction == "by" else "Hochberg"
    is_open = not report.is_final
    share = noise.share
    return (
        _card("Tested", f"{report.tested:,}", f"{report.compared:,} symbols, both ways",
              "Ordered pairs whose residuals of y = α + βx were tested for a unit root; each pair "
              "of symbols is tested both ways. Engle & Granger (1987), MacKinnon (1994)."),
        _card("Pass q", f"{report.passed:,}",
              f"q ≤ {level_words(settings.level)}, Benjamini-{correction}",
              "Pairs of symbols whose better way has a q-value at or below the level, over "
              "everything that was tested, and that pass the filters."),
        _card("Survive", UNKNOWN if is_open else f"{report.survived + report.explained:,}",
              f"{report.explained:,} explained" if report.explained else "wild bootstrap",
              "Of the finalists, those whose wild-bootstrap p-value, which holds where volatility "
              "clusters, is at or below the level. Cavaliere, Rahbek & Taylor (2010). Explained: "
              "what returns is one leg, against a better partner."
              + (" Being tested." if is_open else "")),
        _card("Confirmed", UNKNOWN if is_open else f"{report.confirmed:,}", "out of sample",
              "Survivors that no better pair explains, whose spread, α and β frozen from "
              "training, rejects a unit root on the test window at a q-value over them, and "
              "returns to its trained mean."
              + (" Being tested." if is_open else "")),
        _card("Noise floor", UNKNOWN if share is None else f"{share:.2%}",
              f"{noise.passed:,} of {noise.tested:,}",
              "Share of pairs of legs from two different windows, which cannot be cointegrated, "
              "that pass the same line."),
        _card("Set aside", f"{report.same_asset:,}", f"{report.direct:,} recomputed",
              "Same asset: 1 − R² ≤ 1.5e-6, not tested and not ranked. Recomputed: pairs so alike "
              "that the sums are not exact enough, computed from their bars."),
    )  # fmt: skip


def _card(label: str, value: str, below: str, words: str) -> Card:
    return Card(label, value, below, (), "", words)


def stands_on(report: ScanReport) -> str:
    """Return what the scan stands on, in one line."""
    windows, settings = report.windows, report.settings
    test = "lag by AIC up to" if settings.is_aic else "lag"
    left = report.symbols.height - report.compared
    out = f" · {counted(left, 'symbol')} left out" if left else ""
    return (
        f"{timeframe_label(settings.timeframe)} bars · training {windows.train_start:%d %b %H:%M} "
        f"– {windows.train_end:%d %b %H:%M} · test until {windows.test_end:%d %b %H:%M} UTC · "
        f"{test} {settings.lag}{out} · {report.seconds:.1f} s"
    )


def pair_table(report: ScanReport) -> pl.DataFrame:
    """Return the table to read: a row a pair, in the order of the report."""
    settings = report.settings
    rows = report.pairs
    seen = [survival_words(report, y, x) for y, x in rows.select("y", "x").iter_rows()]
    lives = [
        None if life is None else life * settings.bar_s / 60
        for life in rows["half_life_bars"].to_list()
    ]
    return pl.DataFrame(
        {
            "Pair": [f"{y.upper()} / {x.upper()}" for y, x in rows.select("y", "x").iter_rows()],
            "Stage": [STAGE_WORDS[stage] for stage in rows["stage"].to_list()],
            "Spread": rows["spark"],
            "z now": rows["zscore"],
            "β": rows["beta"],
            "Half-life, min": pl.Series(lives, dtype=pl.Float64),
            "q": rows["q_value"],
            "Bootstrap p": rows["bootstrap_p"],
            "Frozen q": rows["frozen_q"],
            "σ, bps": rows["spread_sd_bps"],
            "σ / cost": rows["spread_sd_bps"] / rows["cost_bps"],
            "ρ": rows["return_correlation"],
            "Crossings": rows["crossings"],
            "Stale": rows["stale_share"],
            "Survived": seen,
        }
    )


def drawn_words(report: ScanReport) -> str:
    """Return which of the pairs are drawn and in the table."""
    shown, every = report.pairs.height, report.compared * (report.compared - 1) // 2
    if shown >= every:
        return f"Drawn are all {shown:,} pairs, each its better way. In-sample."
    return (
        f"Drawn are the table's {shown:,} of {every:,} pairs, each its better way: what passed, "
        "the best of the rest, and the same assets. In-sample."
    )


def taken_along(holder: dict[str, Any]) -> pl.DataFrame:
    """Return the table that was shown last, without its drawings. Raises NotEnoughData."""
    pairs: pl.DataFrame = last_shown(holder).pairs
    return pairs.drop("spark")


def columns(report: ScanReport) -> dict[str, Any]:
    """Return how the table's columns are shown, each with its words."""
    test = f"{report.settings.test_share:.0%}"
    text, trained = st.column_config.TextColumn, "In-sample: "
    return {
        "Pair": text(pinned=True, help="Dependent leg y, then x: the better of both ways."),
        "Stage": text(
            help="How far it came: passed q, survived the bootstrap, confirmed. Filtered: passed q "
            "and not the filters. Explained: what returns is one leg, against a better partner."
        ),
        "Spread": st.column_config.LineChartColumn(
            help=f"y − α − βx in bps, α and β from training; the last {test} is the test window.",
            width="medium",
        ),
        "z now": _number("%+.2f", "The newest spread over its deviation in training."),
        "β": _number("%.3f", f"{trained}hedge ratio, notional of x a notional of y, logs."),
        "Half-life, min": _number("%.1f", f"{trained}−ln 2 / ln φ of the training spread."),
        "q": _number("%.1e", f"{trained}p-value corrected for everything that was tested."),
        "Bootstrap p": _number("%.3f", f"{trained}wild bootstrap, both ways; finalists only."),
        "Frozen q": _number("%.1e", "Out of sample: unit root of the frozen spread, test bars."),
        "σ, bps": _number("%.1f", f"{trained}deviation of the training spread."),
        "σ / cost": _number("%.2f", f"{trained}in round trips of four fills."),
        "ρ": _number("%+.2f", f"{trained}correlation of log returns."),
        "Crossings": _number("localized", f"{trained}how often the spread crossed its mean."),
        "Stale": _number("percent", "Carried closes of the staler leg, in training."),
        "Survived": text(help="In how many of the last scans with the same settings."),
    }


def _number(form: str, words: str) -> Any:
    return st.column_config.NumberColumn(format=form, help=words)


def left_table(rows: pl.DataFrame) -> pl.DataFrame:
    """Return symbols that were left out as a table to read."""
    return rows.select(
        pl.col("symbol").str.to_uppercase().alias("Symbol"),
        pl.col("left_out").alias("Why"),
        (100 * pl.col("coverage")).round(1).alias("Coverage, %"),
        pl.col("turnover").round(0).alias("Turnover a day"),
    )


def pair_words(report: ScanReport, row: dict[str, Any]) -> str:
    """Return one pair in a sentence or two."""

    def told(name: str, form: str) -> str:
        value = row[name]
        return UNKNOWN if value is None else form.format(value).replace("-", "−")

    life = row["half_life_bars"]
    words = [
        f"β {told('beta', '{:.3f}')}, half-life "
        f"{life_words(None if life is None else life * report.settings.bar_s)}, "
        f"σ {told('spread_sd_bps', '{:.1f}')} bps against {told('cost_bps', '{:.1f}')} bps a "
        f"round trip, z {told('zscore', '{:+.2f}')}.",
    ]
    if row["stage"] == SAME:
        words.append("The legs are the same asset (1 − R² ≤ 1.5e-6): not tested, and not ranked.")
    else:
        words.append(
            f"ADF t {told('statistic', '{:.2f}')} with lag {told('lag', '{}')}, p "
            f"{told('p_value', '{:.2g}')}, q {told('q_value', '{:.2g}')}."
        )
    if row["bootstrap_p"] is not None:
        words.append(
            f"Full test p {told('engle_granger_p', '{:.2g}')} and, the other way, "
            f"{told('other_way_p', '{:.2g}')}; bootstrap p {told('bootstrap_p', '{:.3f}')}; "
            f"Johansen's trace {told('johansen_trace', '{:.1f}')} (95%: "
            f"{told('johansen_critical', '{:.1f}')}). Frozen spread on the test window: t "
            f"{told('frozen_statistic', '{:.2f}')}, p {told('frozen_p', '{:.2g}')}, q "
            f"{told('frozen_q', '{:.2g}')}; return to the trained mean p "
            f"{told('level_p', '{:.2g}')}."
        )
    if row["explained_by"]:
        words.append(_explained_words(row))
    if row["note"]:
        words.append(f"{row['note'][:1].upper()}{row['note'][1:]}.")
    return " ".join(words)


def _explained_words(row: dict[str, Any]) -> str:
    better = " / ".join(one.upper() for one in row["explained_by"].split("/"))
    p = UNKNOWN if row["explained_p"] is None else f"{row['explained_p']:.3f}"
    if row["stage"] == EXPLAINED:
        return (
            f"**Explained by {better}**: with the shared leg replaced by its line on that better "
            f"partner, nothing is left that comes back (bootstrap p {p}). What returns is the leg."
        )
    return f"It comes back beyond what {better} explains (bootstrap p {p})."


def pair_spec(report: ScanReport, y: str, x: str) -> PairSpec:
    """Return the pair as an alert on it would look at it."""
    return PairSpec(y, x, report.settings.timeframe, method="refit")
