"""The names in and of archives: which member is read, of which kind and symbol it is."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass

from core.errors import BadFile

_DRIVE = re.compile(r"^[A-Za-z]:")
_NAME = re.compile(
    r"^(?P<symbol>[^/\\]+?)-(?P<what>aggTrades|trades|\d{1,2}(?:mo|[smhdw]))"
    r"-\d{4}-\d{2}(?:-\d{2})?(?!\d)"
)
# The exchange's intervals that are timeframes of Perpduck.
INTERVALS = {
    "1m": "1min",
    "5m": "5min",
    "15m": "15min",
    "1h": "1h",
    "4h": "4h",
    "1d": "1d",
}


@dataclass(frozen=True, slots=True)
class ArchiveName:
    """What an archive's name says: ``symbol`` in lower case, ``interval`` as it is there."""

    symbol: str
    kind: str
    interval: str | None

    @property
    def timeframe(self) -> str | None:
        """The timeframe's name here; None for trades. Raises BadFile for one that is not kept."""
        if self.interval is None:
            return None
        if self.interval not in INTERVALS:
            raise BadFile(
                f"klines of {self.interval} are not kept; give those of one of "
                f"{', '.join(INTERVALS)}"
            )
        return INTERVALS[self.interval]


def archive_name(name: str) -> ArchiveName | None:
    """Read a file's or member's name as the exchange writes them; None where it is another."""
    match = _NAME.match(name.rpartition("/")[2].strip())
    if match is None:
        return None
    what, symbol = match["what"], match["symbol"].lower()
    if what in ("aggTrades", "trades"):
        return ArchiveName(symbol, what, None)
    return ArchiveName(symbol, "klines", what)


def csv_member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """Return the one CSV of a zip; raises BadFile for tricks in names, or none, or several."""
    infos = [info for info in archive.infolist() if not info.is_dir()]
    for info in infos:
        if is_trick(info.orig_filename):
            raise BadFile(
                f"{name} holds {info.orig_filename!r}, a path that leads outside it; "
                "such an archive is not read"
            )
    kept = [info for info in infos if not info.filename.startswith("__MACOSX/")]
    tables = [info for info in kept if info.filename.lower().endswith(".csv")]
    if len(tables) != 1:
        found = ", ".join(info.filename for info in kept[:5]) or "nothing"
        raise BadFile(
            f"{name} must hold exactly one CSV file and holds {len(tables)}; found: {found}"
        )
    if tables[0].flag_bits & 1:
        raise BadFile(f"{name} is encrypted; give it without a password")
    return tables[0]


def is_trick(path: str) -> bool:
    """Whether a member's path is absolute, climbs, names a drive, or hides characters."""
    return (
        not path
        or path.startswith("/")
        or "\\" in path
        or _DRIVE.match(path) is not None
        or ".." in path.split("/")
        or any(ord(letter) < 32 for letter in path)
    )
