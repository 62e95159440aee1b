-- Bars of a stretch that the file which takes its place does not have.
delete from uploaded_bars
where
    symbol = $symbol and timeframe = $timeframe
    and ts between $low and $high
    and ts not in (select ts from new_chunk)
