select 'trades' as "table", count(*) as "rows" from trades
union all
select 'bars_1s', count(*) from bars_1s
union all
select 'bars_1min', count(*) from bars_1min
union all
select 'coverage', count(*) from coverage
union all
select 'gaps', count(*) from gaps
union all
select 'symbols', count(*) from symbols
