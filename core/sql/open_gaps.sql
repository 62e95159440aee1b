select symbol, first_id, last_id, epoch_ms(after_ts), epoch_ms(before_ts), state, epoch_ms(opened_at)
from gaps
where state = 'open'
order by before_ts desc, symbol, first_id desc
limit $limit
