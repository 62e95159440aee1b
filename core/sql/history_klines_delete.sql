-- Those that come again: an archive may have brought them, or the answer to an earlier request.
delete from klines
where
    symbol = $symbol and ts >= $low and ts < $high
    and ts in (select n.ts from new_klines as n where n.symbol = $symbol)
