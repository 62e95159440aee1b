"""The symbols of a scan with their places on the map of the market."""

from __future__ import annotations

import polars as pl

from core.scanning.pairing import Compared
from core.scanning.panel import ScanPanel
from core.scanning.report import SYMBOL_SCHEMA
from core.stats.market_map import market_map


def placed_symbols(panel: ScanPanel, found: Compared) -> pl.DataFrame:
    """Return the symbols (SYMBOL_SCHEMA), those that were compared with place and cluster."""
    drawn = market_map(found.scan.return_correlation)
    places = pl.DataFrame(
        {
            "symbol": panel.names,
            "map_x": drawn.places[:, 0],
            "map_y": drawn.places[:, 1],
            "cluster": drawn.clusters,
        }
    )
    bare = panel.symbols.drop("map_x", "map_y", "cluster")
    joined = bare.join(places, on="symbol", how="left", maintain_order="left")
    return joined.select(list(SYMBOL_SCHEMA)).cast(pl.Schema(SYMBOL_SCHEMA))
