create table alert_rules (
    id varchar not null,
    name varchar not null,
    metric varchar not null,
    y varchar not null,
    x varchar not null,
    op varchar not null,
    threshold double not null,
    low double,
    timeframe varchar not null,
    window_bars bigint not null,
    method varchar not null,
    is_log boolean not null,
    range_s double not null,
    reference double,
    rearm double,
    hold_bars bigint not null,
    cooldown_s double not null,
    -- Equal ends mean the whole day; Monday is 0.
    hours_start time not null,
    hours_end time not null,
    days integer[] not null,
    fires_on varchar not null,
    -- Where its events go besides the settings' own targets: URLs with their secrets.
    targets varchar[] not null,
    is_paused boolean not null,
    created_at timestamp not null,
    -- When it was made, edited, or let go on: what ended before fires nothing.
    since timestamp not null
);

-- What a rule remembers, written in the transaction of the trades that changed it.
create table alert_states (
    rule_id varchar not null,
    -- What ended before this fires nothing, by the clock of the bars.
    since timestamp,
    is_armed boolean not null,
    held bigint not null,
    last_at timestamp,
    last_value double,
    fired_at timestamp,
    has_crossed boolean not null,
    -- The newest value, of a bar that may still form, or why there is none.
    value_at timestamp,
    value double,
    reason varchar not null
);

create table alert_events (
    -- The idempotency key of every delivery: the rule, and the bar that it fired on.
    id varchar not null,
    rule_id varchar not null,
    name varchar not null,
    metric varchar not null,
    y varchar not null,
    x varchar not null,
    condition varchar not null,
    -- The start of the bar it fired on.
    bar_ts timestamp not null,
    timeframe varchar not null,
    is_closed boolean not null,
    value double not null,
    -- What the value was computed from, as it was then: later trades may change the bars.
    inputs varchar not null,
    noticed_at timestamp not null,
    acknowledged_at timestamp
);

create table alert_deliveries (
    event_id varchar not null,
    -- A digest of the URL, its name without secrets, and the URL itself until it is settled.
    target varchar not null,
    label varchar not null,
    url varchar not null,
    -- waiting, sent or dead
    state varchar not null,
    tries bigint not null,
    created_at timestamp not null,
    next_at timestamp not null,
    sent_at timestamp,
    note varchar not null
);
