"""Hours in which nothing is sent: a stretch of the day in a time zone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From ``start`` to ``end`` by the clocks of ``zone``; it may pass midnight."""

    start: time
    end: time
    zone: str = "UTC"

    def until(self, now: datetime) -> datetime | None:
        """Return when the quiet that holds at ``now`` (naive UTC) ends; None where none holds."""
        zone = ZoneInfo(self.zone)
        local = now.replace(tzinfo=UTC).astimezone(zone)
        clock = local.time()
        if self.start < self.end:
            is_quiet = self.start <= clock < self.end
        else:
            is_quiet = clock >= self.start or clock < self.end
        if not is_quiet:
            return None
        day = local.date() + timedelta(days=int(self.start > self.end and clock >= self.start))
        ends = datetime.combine(day, self.end, zone)
        return ends.astimezone(UTC).replace(tzinfo=None)


def parse_quiet(text: str) -> QuietHours:
    """Return the hours in a text such as ``22:00-07:00 Europe/Berlin``; UTC without a zone.

    Raises ConfigError for anything else.
    """
    found = re.fullmatch(r"\s*(\d\d?):(\d\d)\s*-\s*(\d\d?):(\d\d)(?:\s+(\S+))?\s*", text)
    try:
        if found is None:
            raise ValueError
        first_h, first_min, last_h, last_min = (int(part) for part in found.groups()[:4])
        zone = found.group(5) or "UTC"
        ZoneInfo(zone)
        hours = QuietHours(time(first_h, first_min), time(last_h, last_min), zone)
        if hours.start == hours.end:
            raise ValueError
    except (ValueError, ZoneInfoNotFoundError, OSError):
        raise ConfigError(
            f"quiet hours of {text!r}; write them as 22:00-07:00 Europe/Berlin"
        ) from None
    return hours
