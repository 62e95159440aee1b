select symbol, timeframe, rows, first_ts, last_ts, origin, uploaded_at
from uploaded_bar_sets
order by symbol, timeframe
