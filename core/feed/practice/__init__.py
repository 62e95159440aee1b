"""The practice exchange: a small loopback exchange that speaks Binance's market-data protocol.

`Market` is the pure market (a function of seed, rate and time), `server.PracticeExchange` serves
it in a test, and as a process it is started by::

    python -m core.feed.practice --port 0 --seed 7 --rate 60 --speed 1
    python -m core.feed.practice --speed max --preload 1000000 --rate 5000
    python -m core.feed.practice archive --symbols btcusdt --from 2026-11-20 --to 2026-11-21 --out D

A serving process prints one line of JSON when it is ready.  Faults: `faults.FaultSettings`, on
the command line (`--fault skip_prob=0.01`) or at run time (`GET /practice/faults?skip_next=5`,
`?drop=now`, `?clear=1`).  What the market contains is told in `symbols`.
"""

from core.feed.practice.market import Market
from core.feed.practice.symbols import PAIRS, SYMBOLS

__all__ = ["PAIRS", "SYMBOLS", "Market"]
