"""Every error that Perpduck raises on purpose.

    PerpduckError
    ├── ConfigError            a setting or an argument cannot be used
    ├── StoreError             the DuckDB file
    │   ├── StoreBusy          another process held the file for the whole wait
    │   │   └── ReadStopped    one read took longer than the worker can wait
    │   ├── StoreFull          the disk refused a write
    │   ├── StoreMissing       there is no file yet
    │   ├── LakeMissing        files of the lake are gone, or cannot be read
    │   ├── WrongFile          not a DuckDB file, not ours, or newer than the program
    │   ├── WrongVenue         the file belongs to another exchange
    │   └── WorkerRunning      a second worker wanted the same file
    ├── FeedError              the exchange
    │   ├── BadMessage         a frame or row that cannot be understood
    │   ├── FeedLost           the exchange cannot be reached, or broke off
    │   ├── RateLimited        429 or 418; carries when to try again
    │   ├── Refused            the exchange answered with an error code of its own
    │   └── Restricted         451: not served in this location
    ├── ScanRunning            another scan of the same file is not over yet
    ├── ClusterLost            the Dask cluster cannot be reached, or went away
    ├── AlertsFailed           the rules could not be looked at; the trades can be stored
    └── DataError(ValueError)  the numbers
        ├── NotEnoughData      too few bars or trades for the question
        └── BadFile            an uploaded or archived file that cannot be read

A message says what happened, the actual value, and what to do next.
"""

from __future__ import annotations


class PerpduckError(Exception):
    """Base of every error that Perpduck raises on purpose."""


class ConfigError(PerpduckError):
    """A setting or an argument that cannot be used."""


class AlertsFailed(PerpduckError):
    """Alert rules could not be looked at; what they are looked at with must not suffer."""


class StoreError(PerpduckError):
    """The DuckDB file could not be used as asked."""


class StoreBusy(StoreError):
    """Another process held the file for the whole wait; trying again is right."""


class ReadStopped(StoreBusy):
    """One read took longer than it may; the same again most likely does so too."""


class StoreFull(StoreError):
    """The disk refused a write; what was stored before is untouched."""


class StoreMissing(StoreError):
    """There is no file at the path yet; the worker makes it at its first start."""


class LakeMissing(StoreError):
    """Parquet files of the lake are not where they were, or cannot be read."""


class WrongFile(StoreError):
    """The path holds something that is not a Perpduck file this program can read."""


class WrongVenue(StoreError):
    """The file belongs to another exchange than the one now asked for."""


class WorkerRunning(StoreError):
    """Another worker already writes to this file."""


class ScanRunning(PerpduckError):
    """Another scan of the same file is not over yet."""


class ClusterLost(PerpduckError):
    """The Dask cluster cannot be reached, or went away while it computed."""


class FeedError(PerpduckError):
    """The exchange did not do what was asked."""


class BadMessage(FeedError):
    """A frame or a row that cannot be understood; it was counted and left out."""


class FeedLost(FeedError):
    """The exchange cannot be reached, or the connection broke off."""


class RateLimited(FeedError):
    """The exchange asks for a pause (429), or has banned the address (418).

    ``retry_at_ms`` is the epoch in milliseconds from which asking again is allowed.
    """

    def __init__(self, message: str, *, retry_at_ms: int) -> None:
        super().__init__(message)
        self.retry_at_ms = retry_at_ms


class Refused(FeedError):
    """The exchange understood the request and said no, with a code of its own."""

    def __init__(self, message: str, *, status: int, code: int) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Restricted(FeedError):
    """The exchange does not serve this location (HTTP 451)."""


class DataError(PerpduckError, ValueError):
    """The numbers do not allow an answer."""


class NotEnoughData(DataError):
    """Too few bars or trades for the question that was asked."""


class BadFile(DataError):
    """A file from outside that cannot be read as what it claims to be."""
