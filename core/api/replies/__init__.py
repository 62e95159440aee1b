"""What programs are answered: a struct an answer, for the OpenAPI document and its tests.

Handlers write plain dictionaries, and the tests hold every answer to its struct. A number that may
not be known is null, mostly with a note beside it.
"""

from core.api.replies.alerts import AlertRule, AlertRules, Events
from core.api.replies.backtests import Backtested
from core.api.replies.market import Bars, Health, IngestStatus, Matrix, Symbols
from core.api.replies.pairs import PairAnalysis
from core.api.replies.scans import Scan, ScanBegun, ScanOnItsWay
from core.api.replies.uploads import Upload, UploadDeleted

__all__ = [
    "AlertRule",
    "AlertRules",
    "Backtested",
    "Bars",
    "Events",
    "Health",
    "IngestStatus",
    "Matrix",
    "PairAnalysis",
    "Scan",
    "ScanBegun",
    "ScanOnItsWay",
    "Symbols",
    "Upload",
    "UploadDeleted",
]
