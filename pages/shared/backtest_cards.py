"""Backtest's two rows of numbers: what it made, and what speaks against it."""

from __future__ import annotations

from core.backtest.measures import MIN_DAYS
from core.backtests.running import BacktestResult
from core.backtests.words import check_words, counted, percent
from core.verdict import span_words
from pages.shared.cards import UNKNOWN, Card
from pages.shared.pair_cards import number

WAITING = "…"


def result_cards(result: BacktestResult) -> tuple[Card, ...]:
    """Return the result's own numbers, in reading order."""
    found = result.measures
    short = f"from {MIN_DAYS} days on" if found.days < MIN_DAYS else None
    return (
        Card(
            # The sign that colours it must be the plain one.
            "Net return", percent(found.total_return), f"{found.net:+,.2f}",
            (), "",
            "End over start of the account, minus 1: fees, slippage and funding are paid, an open "
            "trade is marked at the last close. Below it the same in quote units.",
        ),
        _known("Year", percent(found.annual_return), short, found.reasons, "annual_return",
               f"The net return compounded to 365 days, from {MIN_DAYS} days on."),
        _known("Sharpe", number(found.sharpe, 2), _chance(found.probabilistic_sharpe) or short,
               found.reasons, "sharpe",
               f"Mean over deviation of daily returns · √365, from {MIN_DAYS} days on. Below it "
               "the chance that the true ratio is above 0. Bailey & López de Prado (2012)."),
        _known("Sortino", number(found.sortino, 2), short or f"Calmar {number(found.calmar, 2)}",
               found.reasons, "sortino",
               "Mean over downside deviation of daily returns · √365; Calmar: a year's return "
               "over the largest drawdown."),
        *_path_cards(result),
    )  # fmt: skip


def _path_cards(result: BacktestResult) -> tuple[Card, ...]:
    found, start = result.measures, result.done.books.start
    return (
        Card(
            "Max drawdown", percent(found.max_drawdown), span_words(found.drawdown_s), (), "",
            "Deepest fall of the account below an earlier peak, marked at every close; below it "
            "the longest time below a peak.",
        ),
        _known("Trades", f"{found.trades:,}",
               f"hit {found.hit_rate:.0%}" if found.hit_rate is not None else UNKNOWN,
               found.reasons, "hit_rate",
               "Round trips; below it the share of closed ones with a net gain."),
        _known("Profit factor", number(found.profit_factor, 2),
               f"tail ratio {number(found.tail_ratio, 2)}",
               found.reasons, "profit_factor",
               "Net gains over net losses of closed trades; tail ratio: the 95th percentile of "
               "daily returns over the size of the 5th."),
        Card(
            "Exposure", f"{found.exposure:.0%}",
            f"{span_words(found.mean_holding_s)} a trade" if found.mean_holding_s else None,
            (), "",
            "Share of the bars at whose close something was held; below it the mean holding time. "
            f"Turnover {found.turnover:,.0f}× the capital of {start:,.0f} a year.",
        ),
    )  # fmt: skip


def honesty_cards(result: BacktestResult) -> tuple[Card, ...]:
    """Return what the checks found; those that still run say so."""
    return (*_tests(result), *_tolls(result), _classic(result))


def _card(
    result: BacktestResult, name: str, label: str, value: str | None, below: str | None, text: str
) -> Card:
    """Return one check's card; it waits while the check runs, and says why where there is none."""
    words = check_words(result)
    missing = UNKNOWN if name in result.honesty.reasons else WAITING
    return Card(
        label, missing if value is None else value, below if value is not None else None,
        (), "", f"{text}\n\n{words.get(name, 'This check still runs.')}",
    )  # fmt: skip


def _tests(result: BacktestResult) -> tuple[Card, ...]:
    honesty = result.honesty
    noise, audit, folds = honesty.noise, honesty.audit, honesty.folds
    return (
        _card(
            result, "noise", "Better than noise",
            f"{noise.better_than:.0%}" if noise else None,
            f"{counted(len(noise.returns), 'shuffled run')}" if noise else None,
            "The same settings on resampled blocks of both legs' joint returns, where there is "
            "nothing to find.",
        ),
        _card(
            result, "audit", "Look-ahead",
            ("none" if audit.is_clean else f"{audit.signals.height:,} bars") if audit else None,
            f"{len(audit.changes)} of {audit.cuts} cuts" if audit else None,
            "Signals and trades recomputed on history that ends earlier: bars whose signal "
            "changed, and at how many cuts. Nothing may change.",
        ),
        _card(
            result, "folds", "Out of sample",
            percent(honesty.out_of_sample) if folds else None,
            counted(len(folds), "stretch", "stretches") if folds else None,
            "Walking forward: what was best on the bars before, traded on the bars after.",
        ),
    )  # fmt: skip


def _tolls(result: BacktestResult) -> tuple[Card, ...]:
    costs, sweep = result.honesty.costs, result.honesty.sweep
    even = best = UNKNOWN
    below = tried = None
    if costs and costs.break_even_bps is not None:
        even = f"{costs.break_even_bps:,.1f} bps".replace("-", "−")
        share = result.measures.cost_share
        below = f"paid {costs.paid_bps:,.1f}" + (f", {share:.0%} of gross" if share else " bps")
    if sweep and sweep.best is not None:
        best = f"{sweep.best[0]:g} · {sweep.best[1]:,}"
        tried = f"{sweep.tried} tried"
        if sweep.deflated is not None:
            tried = f"{tried}, luck-proof {sweep.deflated:.0%}"
    return (
        _card(
            result, "costs", "Break-even cost", even if costs else None, below,
            "Cost a fill, in bps of its notional, at which nothing is left of the gross gain; "
            "below it what was paid a fill, and what all costs took of the gross gain.",
        ),
        _card(
            result, "sweep", "Best of those tried", best if sweep else None, tried,
            "Entry level · window with the best net Sharpe (net return under 20 days), and the "
            "deflated Sharpe: the chance that it is more than the luck of so many trials. Bailey "
            "& López de Prado (2014).",
        ),
    )  # fmt: skip


def _classic(result: BacktestResult) -> Card:
    gains = result.classic.trades["gain"].to_numpy()
    total = float(result.classic.equity[-1]) if len(result.classic.equity) else 0.0
    won = f"wins {(gains > 0).mean():.0%} of {len(gains):,}" if len(gains) else "no trade"
    return Card(
        "Classic backtest", f"{total:+,.1f} σ".replace("-", "−"), won, (), "",
        "For comparison, what the usual mini backtest would claim of the same z-score: in at the "
        "very close that made |z| > 2, out where z crosses 0, no cost, gains in units of z. It "
        "wins on pure noise as well: this number means nothing.",
    )  # fmt: skip


def _known(
    label: str, value: str, below: str | None, reasons: dict[str, str], name: str, words: str
) -> Card:
    if reason := reasons.get(name):
        words = f"{words}\n\nNot known: {reason}."
    return Card(label, value, below, (), "", words)


def _chance(share: float | None) -> str | None:
    return None if share is None else f"above 0: {share:.0%}"
