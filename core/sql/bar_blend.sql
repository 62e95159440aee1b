select
    exists(
        from klines
        where ts >= $start and ts < $end and symbol in (select unnest($symbols))
    ),
    exists(
        from uploaded_bar_sets
        where timeframe = $timeframe and symbol in (select unnest($symbols))
    ),
    len(list_filter($symbols, lambda symbol: contains(symbol, '@'))) > 0
