-- The exchange's own minutes: what came before our trades, and a check on our bars.
create table klines (
    symbol varchar not null,
    ts timestamp not null,
    open double not null,
    high double not null,
    low double not null,
    close double not null,
    volume decimal(38, 8) not null,
    quote_volume decimal(38, 16) not null,
    trades bigint not null,
    taker_buy_volume decimal(38, 8) not null
);

create table funding_rates (
    symbol varchar not null,
    ts timestamp not null,
    rate double not null,
    mark_price double
);

-- Bars that a user gave: they take precedence for exactly that symbol and timeframe.
create table uploaded_bars (
    symbol varchar not null,
    timeframe varchar not null,
    ts timestamp not null,
    open double not null,
    high double not null,
    low double not null,
    close double not null,
    volume decimal(38, 8) not null
);

create table uploaded_bar_sets (
    symbol varchar not null,
    timeframe varchar not null,
    origin varchar not null,
    content_hash varchar not null,
    rows bigint not null,
    first_ts timestamp not null,
    last_ts timestamp not null,
    uploaded_at timestamp not null
);

-- Trades that a user gave, in named datasets. A dataset's symbol is known to every other table
-- (bars_1s, bars_1min, versions) by the key symbol@dataset, so nothing of it mixes with live data.
create table datasets (dataset varchar not null, created_at timestamp not null);

create table uploaded_trades (
    dataset varchar not null,
    symbol varchar not null,
    id bigint,
    ts timestamp not null,
    price double not null,
    size double,
    side varchar,
    -- How many equal rows without an id came before this one in its file: two equal trades of one
    -- file are two, the same row of another file is the same trade.
    occurrence bigint not null
);

create table dataset_symbols (
    dataset varchar not null,
    symbol varchar not null,
    trades bigint not null,
    first_ts timestamp not null,
    last_ts timestamp not null
);

create table imported_files (
    -- Empty for what belongs to the exchange's own history.
    dataset varchar not null,
    kind varchar not null,
    name varchar not null,
    content_hash varchar not null,
    rows_read bigint not null,
    rows_kept bigint not null,
    rows_duplicate bigint not null,
    rows_rejected bigint not null,
    imported_at timestamp not null
);

-- The chunks of files that are being imported; written with the chunk, gone with the last one.
create table import_chunks (
    dataset varchar not null,
    content_hash varchar not null,
    chunk bigint not null,
    rows_kept bigint not null,
    rows_duplicate bigint not null
);

-- Finished days that left the file for Parquet, verified.
create table lake_files (
    symbol varchar not null,
    day date not null,
    path varchar not null,
    trades bigint not null,
    first_id bigint not null,
    last_id bigint not null,
    first_ts timestamp not null,
    last_ts timestamp not null,
    checksum varchar not null,
    moved_at timestamp not null,
    -- The root that the path is relative to, itself relative to the database's folder where it
    -- lies in there; null where the path is whole.
    lake varchar,
    -- Of the file's bytes, where it lies on a disk of this machine.
    sha256 varchar
);
