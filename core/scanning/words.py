"""A scan in words: what was tested, what is left of it, and what noise would have passed."""

from __future__ import annotations

from core.scanning.report import ScanReport

# After correction over 250,000 pairs a half-life has to be below this share of the window.
FINDABLE = 1 / 150


def headline(report: ScanReport) -> str:
    """Return the answer in one sentence or two."""
    tested = f"Tested {report.tested:,} ordered pairs of {report.compared:,} symbols"
    if not report.tested:
        return f"{tested}: none of them can be; their legs are the same asset, or stand still."
    line = f"q ≤ {level_words(report.settings.level)}"
    if not report.passed:
        if report.filtered:
            pairs = "pair passes" if report.filtered == 1 else "pairs pass"
            return f"{tested}: {report.filtered:,} {pairs} {line}, and none of them the filters."
        return f"{tested}: none passes {line}. That is what a market without pairs looks like."
    pairs = "pair passes" if report.passed == 1 else "pairs pass"
    words = f"{tested}: {report.passed:,} {pairs} {line}"
    if not report.is_final:
        return f"{words}; the finalists are being tested."
    survived = f"{report.survived + report.explained:,} survived the bootstrap"
    if report.explained:
        survived += f" ({report.explained:,} explained by a better pair)"
    return f"{words}, {survived}, {report.confirmed:,} confirmed out of sample."


def level_words(level: float) -> str:
    """Return a level in percent with all of its digits: 5%, 2.5%, 0.1%."""
    return f"{100 * level:.10g}%"


def noise_words(report: ScanReport) -> str:
    """Return what share of noise would have passed the same line."""
    noise = report.noise
    if noise.share is None and not report.is_final:
        return "Noise floor: being measured."
    if noise.share is None:
        return "Noise floor: not measured; too few bars are held before the training window."
    is_any = report.passed or report.filtered
    line = "pass the same line" if is_any else "have a p-value below level ÷ tests"
    return (
        f"Noise floor: {noise.passed:,} of {noise.tested:,} pairs of legs from two different "
        f"windows ({noise.share:.2%}), which cannot be cointegrated, {line}."
    )


def power_words(report: ScanReport) -> str:
    """Return how slow a pair may be to be found at all."""
    windows = report.windows
    train_s = (windows.train_end - windows.train_start).total_seconds()
    longest = train_s * FINDABLE / 60
    return (
        f"Over so many pairs a half-life above 1/150 of the training window ({longest:,.0f} min "
        "here, at 250,000 pairs) is rarely found; fewer symbols or a longer range find slower ones."
    )


def survival_words(report: ScanReport, y: str, x: str) -> str:
    """Return how often a pair survived in the last scans that asked the same."""
    scans, counts = report.history
    found = counts.get((min(y, x), max(y, x)), 0)
    return f"{found} of {scans}" if scans else "–"
