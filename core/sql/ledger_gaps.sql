select symbol, first_id, last_id, epoch_ms(after_ts), epoch_ms(before_ts), state, epoch_ms(opened_at)
from gaps
where list_contains($symbols, symbol) and state <> 'filled'
order by symbol, first_id
