"""What a backtest's numbers say, in plain sentences: the verdict first, its weaknesses with it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import polars as pl

from core.backtests.running import BacktestResult
from core.verdict import span_words

Kind = Literal["in-sample", "changed", "none", "few", "loses", "noise", "unproven", "holds"]

# Fewer closed trades than this say nothing about the next one.
MIN_TRADES = 10
# A result must beat this share of noise before it is called better than noise.
BETTER = 0.95
# Orders above this share of their bar's turnover move the price.
CROWDED = 0.01


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on one backtest; ``is_grave`` where the result must not be believed."""

    kind: Kind
    words: str
    is_grave: bool = False


def judgement(result: BacktestResult) -> Judgement:
    """Return the verdict, as far as the checks done so far allow one."""
    numbers, honesty, done = result.measures, result.honesty, result.done
    market = done.market
    span = span_words(float(market.start_s[-1] - market.start_s[0]) + market.bar_s)
    count = counted(numbers.trades, "trade")
    gain = f"{percent(numbers.total_return)} after costs over {span} ({count})"
    if done.signals.is_in_sample:
        return Judgement(
            "in-sample",
            f"In-sample: β was fitted on the very bars it trades, which nobody can do. {gain} is "
            "no result.",
            True,
        )
    if honesty.audit is not None and not honesty.audit.is_clean:
        return Judgement(
            "changed",
            f"Not to be believed: {len(honesty.audit.changes)} of {honesty.audit.cuts} cut-off "
            f"histories give other signals or trades. {gain}.",
            True,
        )
    if not numbers.trades:
        return Judgement("none", f"No trade over {span}: {_why_none(result)}.")
    noise = honesty.noise
    beats = "" if noise is None else f"; better than {noise.better_than:.0%} of noise"
    if numbers.trades < MIN_TRADES:
        return Judgement("few", f"Too few trades to say anything: {gain}{beats}.")
    if numbers.net <= 0:
        return _losing(result, gain, beats)
    if noise is None:
        return Judgement("unproven", f"{gain}, not yet held against noise.")
    if noise.better_than < BETTER:
        return Judgement(
            "noise",
            f"No better than noise: {gain}, but the same settings do as well on "
            f"{1 - noise.better_than:.0%} of shuffled histories.",
        )
    after = honesty.out_of_sample
    if after is None:
        return Judgement("unproven", f"{gain}{beats}; not tested out of sample.")
    if after <= 0:
        return Judgement(
            "unproven",
            f"{gain}{beats}, but what was best before lost {percent(after)} out of sample.",
        )
    return Judgement("holds", f"{gain}{beats}; {percent(after)} out of sample.")


def _losing(result: BacktestResult, gain: str, beats: str) -> Judgement:
    numbers, noise = result.measures, result.honesty.noise
    before = percent(numbers.gross / result.done.books.start)
    eaten = f"costs eat {before}: " if numbers.gross > 0 else "it loses: "
    if noise is not None and noise.better_than < BETTER:
        return Judgement("noise", f"No better than noise, and {eaten}{gain}{beats}.")
    return Judgement("loses", f"{eaten[0].upper()}{eaten[1:]}{gain}{beats}.")


def weaknesses(result: BacktestResult) -> tuple[str, ...]:
    """Return what a reader of the result has to know, the gravest first."""
    done, numbers, honesty = result.done, result.measures, result.honesty
    said = list(done.assumptions)
    if (days := numbers.days) < 20:
        said.append(f"{counted(days, 'day')} of returns: no Sharpe ratio, and no year to speak of")
    if result.traded.klines_share > 0:
        said.append(
            f"{result.traded.klines_share:.0%} of the legs' bars are the exchange's or uploaded "
            "ones, not made of trades kept here"
        )
    if numbers.optimistic_fills:
        said.append(
            f"{numbers.optimistic_fills:.0%} of the maker fills are optimistic: the price did not "
            "trade through them"
        )
    if (crowded := largest_share(result)) > CROWDED:
        said.append(
            f"the largest order was {crowded:.0%} of what its bar turned over; what it would have "
            "moved the price by is not in the result"
        )
    for reason, number in done.refused.items():
        said.append(f"{counted(number, 'entry', 'entries')} refused: {reason}")
    capture = honesty.costs.capture if honesty.costs else None
    if capture is not None:
        said.append(
            f"the spread gave {percent_plain(capture)} of what |z|·σ promised at the entries: "
            "that is an upper bound, not an expectation"
        )
    said.append("what was, over the bars shown; markets change, and so does the pair")
    return tuple(said)


def largest_share(result: BacktestResult) -> float:
    """Return the largest fill as a share of the quote units that its leg's bar turned over."""
    bars, books, largest = result.traded.inputs.bars, result.done.books, 0.0
    worth = pl.coalesce("quote_volume", pl.col("volume") * pl.col("close"))
    for symbol, fills in (
        (result.traded.spec.y, books.fills_y),
        (result.traded.spec.x, books.fills_x),
    ):
        traded = pl.DataFrame({"at": fills.at_s, "size": abs(fills.size) * fills.paid})
        turned = bars.filter((pl.col("symbol") == symbol) & (worth > 0)).select(
            at=pl.col("ts").dt.epoch("s"), turned=worth
        )
        found = traded.join(turned, on="at").select((pl.col("size") / pl.col("turned")).max())
        largest = max(largest, found.item() or 0.0)
    return largest


def _why_none(result: BacktestResult) -> str:
    done = result.done
    if done.refused:
        reason, number = max(done.refused.items(), key=lambda one: one[1])
        return f"{counted(number, 'entry', 'entries')} refused, most of all: {reason}"
    zscore = abs(done.signals.zscore)
    known = zscore[zscore == zscore]
    if not len(known):
        return "the z-score is not defined on any bar; choose a shorter window or a longer range"
    return (
        f"the largest |z| is {known.max():.2f}, the entry level {done.settings.rules.enter:g}; it "
        "must be passed before the last bar"
    )


def percent(share: float | None, digits: int = 2) -> str:
    """Return a share as a signed percentage with a true minus, a dash where not known."""
    if share is None or not math.isfinite(share):
        return "–"
    size = abs(100 * share)
    text = f"{size:,.{0 if size >= 1000 else digits}f}%"
    if not text.strip("0.,%"):
        return text
    return f"{'−' if share < 0 else '+'}{text}"


def percent_plain(share: float | None) -> str:
    """Return a share as a whole percentage, without a plus."""
    return "–" if share is None else f"{share:.0%}".replace("-", "−")


def counted(number: int, noun: str, many: str = "") -> str:
    """Return a number with its noun: 1 trade, 2 trades."""
    return f"{number:,} {noun if number == 1 else many or noun + 's'}"


def check_words(result: BacktestResult) -> dict[str, str]:
    """Return what each check found, or why it found nothing, one sentence by check's name."""
    honesty = result.honesty
    said = {name: f"Not possible: {reason}." for name, reason in honesty.reasons.items()}
    if (noise := honesty.noise) is not None:
        said["noise"] = (
            f"Better than {noise.better_than:.0%} of {len(noise.returns)} resamplings of the "
            f"legs' joint returns in {noise.block_bars}-bar blocks; {noise.traded} of them traded."
        )
    if (audit := honesty.audit) is not None:
        said["audit"] = (
            f"Nothing changed at {audit.cuts} cut-off histories: no signal and no trade knows "
            "what came after it."
            if audit.is_clean
            else f"{len(audit.changes)} of {audit.cuts} cut-off histories change signals or "
            "trades: this result knows its future."
        )
    if (folds := honesty.folds) is not None:
        better = sum(fold.test_net > 0 for fold in folds)
        said["folds"] = (
            f"{percent(honesty.out_of_sample)} over "
            f"{counted(len(folds), 'test stretch', 'test stretches')}, {better} of them won, "
            "with the entry and window that were best on the bars before."
        )
    if honesty.costs is not None:
        said["costs"] = _cost_words(result)
    if (sweep := honesty.sweep) is not None and sweep.best is not None:
        enter, window = sweep.best
        said["sweep"] = f"Best of {sweep.tried} tried: entry {enter:g}, window {window:,}. " + (
            f"Chance that it is more than the luck of so many: {sweep.deflated:.0%} "
            "(deflated Sharpe)."
            if sweep.deflated is not None
            else "Under 20 days there is no Sharpe ratio to deflate: net returns are shown."
        )
    return said


def _cost_words(result: BacktestResult) -> str:
    costs, start = result.honesty.costs, result.done.books.start
    assert costs is not None
    if costs.break_even_bps is None or costs.paid_bps is None:
        return "No trade, no cost."
    nets = " · ".join(f"{factor:g}× {percent(net / start)}" for factor, net in costs.nets.items())
    where = (
        f"breaks even at {costs.break_even_bps:.1f} bps a fill, {costs.paid_bps:.1f} were paid"
        if costs.break_even_bps > 0
        else f"loses before any cost; {costs.paid_bps:.1f} bps a fill were paid"
    )
    return f"Net at {nets}; {where}."
