create table meta (key varchar not null, value varchar not null);

create table trades (
    symbol varchar not null,
    agg_id bigint not null,
    ts timestamp not null,
    price double not null,
    size double not null,
    buyer_is_maker boolean not null,
    source varchar not null
);

create table coverage (
    symbol varchar not null,
    first_id bigint not null,
    last_id bigint not null,
    first_ts timestamp not null,
    last_ts timestamp not null
);

create table gaps (
    symbol varchar not null,
    first_id bigint not null,
    last_id bigint not null,
    state varchar not null,
    opened_at timestamp not null,
    closed_at timestamp,
    after_ts timestamp not null,
    before_ts timestamp not null
);

create table bars_1s (
    symbol varchar not null,
    ts timestamp not null,
    open double not null,
    high double not null,
    low double not null,
    close double not null,
    volume decimal(38, 8) not null,
    quote_volume decimal(38, 16) not null,
    trades bigint not null,
    taker_buy_volume decimal(38, 8) not null,
    first_ts timestamp not null,
    first_id bigint not null,
    last_ts timestamp not null,
    last_id bigint not null
);

create table bars_1min as from bars_1s;

create table versions (scope varchar not null, version bigint not null);

create table watchlist (symbol varchar not null, added_at timestamp not null);

create table symbols (
    symbol varchar not null,
    status varchar not null,
    contract_type varchar not null,
    base_asset varchar not null,
    quote_asset varchar not null,
    tick_size double not null,
    step_size double not null,
    min_notional double not null
);

create table worker_status (
    pid bigint not null,
    host varchar not null,
    version varchar not null,
    venue varchar not null,
    state varchar not null,
    started_at timestamp not null,
    updated_at timestamp not null,
    buffered_trades bigint not null,
    spilled_trades bigint not null,
    flush_s double not null,
    worst_flush_s double not null,
    trades_per_s double not null,
    connections bigint not null,
    reconnects bigint not null,
    rejected bigint not null,
    weight_used bigint not null,
    note varchar not null
);

create table symbol_status (
    symbol varchar not null,
    state varchar not null,
    last_price double,
    last_trade_ts timestamp,
    lag_s double,
    trades_per_s double not null,
    trades_stored bigint not null,
    reconnects bigint not null,
    open_gaps bigint not null,
    missing_trades bigint not null,
    note varchar not null
);

create table worker_commands (command varchar not null, requested_at timestamp not null);
