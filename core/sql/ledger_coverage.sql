select symbol, first_id, last_id, epoch_ms(first_ts), epoch_ms(last_ts)
from coverage
where list_contains($symbols, symbol)
order by symbol, first_id
