-- Alerts on a spread of logs are in bps, as Pair draws it; a kept rule goes on meaning the same.
update alert_states
set value = 1e4 * value, last_value = 1e4 * last_value
where rule_id in (select id from alert_rules where metric = 'spread' and is_log);

update alert_rules
set threshold = 1e4 * threshold, low = 1e4 * low, rearm = 1e4 * rearm
where metric = 'spread' and is_log;
