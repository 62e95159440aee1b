"""Files of any kind to clean frames and rejects: no database, no network.

`open_reading` reads ticks (NDJSON, CSV, Parquet) and the exchange's archives in batches,
`read_bars` a whole CSV of bars; `kind_of` tells which of them a file is for.
"""

from core.reading.bars import BarsRead, read_bars
from core.reading.frames import Batch, Refused
from core.reading.kinds import archive_files, kind_of, verify_checksum
from core.reading.limits import Limits
from core.reading.reading import Reading, open_reading

__all__ = [
    "BarsRead",
    "Batch",
    "Limits",
    "Reading",
    "Refused",
    "archive_files",
    "kind_of",
    "open_reading",
    "read_bars",
    "verify_checksum",
]
