select first_id, last_id, epoch_ms(after_ts), epoch_ms(before_ts), state, epoch_ms(opened_at)
from gaps
where symbol = $symbol and state = 'filled' and (last_id = $before or first_id = $after)
order by first_id
