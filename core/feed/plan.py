"""Which symbol goes on which connection; pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence


def planned_symbols(
    current: Sequence[Collection[str]], wanted: Collection[str], room: int
) -> list[list[str]]:
    """Return the symbols of each connection, those that exist first, at most ``room`` on each.

    A symbol stays where it is, since moving it would cost trades; a new one goes to the
    connection that carries least. No connection is added while others have room, and one that
    comes back empty can be closed.
    """
    unplaced = dict.fromkeys(sorted(wanted))
    planned: list[list[str]] = []
    for symbols in current:
        kept = [symbol for symbol in sorted(symbols) if symbol in unplaced][:room]
        for symbol in kept:
            del unplaced[symbol]
        planned.append(kept)
    used = [symbols for symbols in planned if symbols]
    spare = [symbols for symbols in planned if not symbols]
    while len(used) < math.ceil(len(set(wanted)) / room):
        if not spare:
            spare.append([])
            planned.append(spare[0])
        used.append(spare.pop(0))
    for symbol in unplaced:
        min(used, key=len).append(symbol)
    return planned
