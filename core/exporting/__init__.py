"""What can be taken along: rows in bounded parts, and the files that hold them."""

from core.exporting.parts import (
    bars_parts,
    first_trades,
    matrix_parts,
    matrix_table,
    newest_bars,
    pair_columns,
    pair_parts,
    pairs_parts,
    pairs_table,
    summary_parts,
    trades_parts,
)
from core.exporting.summary import summary_table
from core.exporting.tables import FORMATS, csv_bytes, parquet_bytes, write_parts, writing

__all__ = [
    "FORMATS",
    "bars_parts",
    "csv_bytes",
    "first_trades",
    "matrix_parts",
    "matrix_table",
    "newest_bars",
    "pair_columns",
    "pair_parts",
    "pairs_parts",
    "pairs_table",
    "parquet_bytes",
    "summary_parts",
    "summary_table",
    "trades_parts",
    "write_parts",
    "writing",
]
