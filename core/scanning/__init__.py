"""Scans of the market for pairs: what is asked, how it runs, what is kept, and what it says.

`core.scanning.running` runs one; this package itself imports no statistics, as the worker asks
only what is due.
"""

from core.scanning.report import CONFIRMED, NOISE, PASSED, SAME, SURVIVED, ScanReport
from core.scanning.settings import ScanSettings, settings_of

__all__ = [
    "CONFIRMED",
    "NOISE",
    "PASSED",
    "SAME",
    "SURVIVED",
    "ScanReport",
    "ScanSettings",
    "settings_of",
]
