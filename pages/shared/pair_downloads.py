"""What can be taken along from a pair's view, live or out of a bundle."""

from __future__ import annotations

from collections.abc import Callable

from core.exporting import csv_bytes, summary_table
from pages.shared.downloads import Download, downloads
from pages.shared.pair_view import PairView

WORDS = (
    "The bars in view, none left out: ts (UTC), spread, zscore, corr, price_y, price_x, beta, "
    "alpha; spread = y − alpha − beta · x, in log units for log prices (bps / 10,000). Statistics: "
    "every number with what it stands on. The bundle holds the bars, the parameters and the "
    "results: opened on the Data page of another machine it shows this very view."
)


def pair_downloads(
    view: Callable[[], PairView], bundle: Callable[[], bytes], name: str, *, key: str
) -> None:
    """Offer the view that ``view`` returns at the click: its rows, statistics and bundle."""
    downloads(
        lambda: view().shown(),
        lambda: name,
        key=key,
        words=WORDS,
        more=[
            Download(
                "Statistics", lambda: _statistics(view()), f"{name}-statistics.csv", "text/csv",
                ":material/functions:",
            ),
            Download(
                "Bundle", bundle, f"{name}.zip", "application/zip", ":material/inventory_2:"
            ),
        ],
    )  # fmt: skip


def _statistics(view: PairView) -> bytes:
    judged = view.moment.judged_from, view.moment.judged_at
    return csv_bytes(summary_table(view.analysis, view.verdict, judged))
