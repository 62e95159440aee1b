"""Many rows out of a table, in transactions short enough for the worker to write between them."""

from __future__ import annotations

import time

from core.importing.committing import PAUSE_S, WAIT_S
from core.sql import sql
from core.store import Store

# Deleting this many was measured to hold the file for 0.1 to 0.2 s.
PIECE_ROWS = 500_000


def delete_in_pieces(store: Store, table: str, where: str, parameters: dict[str, object]) -> int:
    """Delete the rows of a table, in several transactions; returns how many.

    ``table`` and ``where`` are literals of the caller; values are bound by name.
    """
    text = sql("import_delete_piece").replace("{table}", table).replace("{where}", where)
    gone = 0
    while True:
        with store.write(wait_s=WAIT_S) as con:
            piece = int(con.execute(text, {**parameters, "rows": PIECE_ROWS}).fetchall()[0][0])
        gone += piece
        if piece < PIECE_ROWS:
            return gone
        time.sleep(PAUSE_S)
