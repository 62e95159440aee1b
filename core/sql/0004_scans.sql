create table scans (
    id varchar not null,
    started_at timestamp not null,
    seconds double not null,
    -- Who asked: page, schedule, program or command.
    asked_by varchar not null,
    -- What was asked, as JSON, and its digest: scans with the same are one history.
    settings varchar not null,
    asked varchar not null,
    timeframe varchar not null,
    -- The training window is [train_start, train_end), the test window [train_end, test_end).
    train_start timestamp not null,
    train_end timestamp not null,
    test_end timestamp not null,
    symbols bigint not null,
    tested bigint not null,
    same_asset bigint not null,
    direct bigint not null,
    -- The noise floor: pairs that cannot be cointegrated, over bars of two different windows.
    noise_tested bigint not null,
    noise_bars bigint not null,
    noise_passed bigint not null,
    passed bigint not null,
    survived bigint not null,
    confirmed bigint not null,
    note varchar not null
);

create table scan_pairs (
    scan_id varchar not null,
    place bigint not null,
    y varchar not null,
    x varchar not null,
    -- noise, passed, explained, survived, confirmed or same asset
    stage varchar not null,
    beta double,
    alpha double,
    statistic double,
    p_value double,
    q_value double,
    q_by double,
    lag bigint,
    half_life_bars double,
    spread_sd_bps double,
    zscore double,
    return_correlation double,
    crossings bigint,
    stale_share double,
    n_obs bigint,
    cost_bps double,
    -- Of finalists: the full tests on the training window, then the frozen spread on the test one.
    engle_granger_p double,
    other_way_p double,
    bootstrap_p double,
    johansen_trace double,
    johansen_critical double,
    frozen_statistic double,
    frozen_p double,
    frozen_q double,
    level_p double,
    explained_by varchar,
    explained_p double,
    note varchar not null,
    spark double[] not null
);

create table scan_symbols (
    scan_id varchar not null,
    symbol varchar not null,
    -- Why it was left out, empty where it was not.
    left_out varchar not null,
    coverage double,
    stale_share double,
    turnover double,
    map_x double,
    map_y double,
    cluster bigint
);

-- One row at most: what the worker scans by itself, and how often.
create table scan_schedule (
    every_s double not null,
    settings varchar not null,
    last_at timestamp,
    note varchar not null
);
