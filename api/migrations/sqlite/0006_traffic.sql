-- What was carried and how upstreams did, over time. Times are whole seconds since 1970 here, the
-- beginnings of steps: they are counted with, and there are very many of them. Rows are ordered by
-- time first, so that a minute's rows are written beside each other, and dropped so. Nothing
-- refers to other tables: what was is not undone by a client's or a proxy's removal.

create table traffic (
    -- the width of the step, in seconds; each byte is in one step of each width
    step_s      integer not null,
    at          integer not null,
    client_id   blob    not null check (length(client_id) = 16),
    -- all zero: by no proxy, such as questions to DNS
    proxy_id    blob    not null check (length(proxy_id) = 16),
    connections integer not null,
    bytes_up    integer not null,
    bytes_down  integer not null,
    primary key (step_s, at, client_id, proxy_id)
) strict, without rowid;

create table health_history (
    step_s     integer not null,
    at         integer not null,
    -- each gateway has its own way to an upstream
    gateway    text    not null,
    proxy_id   blob    not null check (length(proxy_id) = 16),
    -- checks that were answered, and their latencies together
    answered   integer not null,
    latency_ms integer not null,
    -- 0 UNKNOWN, 1 OK, 2 DEGRADED, 3 DOWN
    worst      integer not null check (worst between 0 and 3),
    primary key (step_s, at, gateway, proxy_id)
) strict, without rowid;

-- the names that were called most in an hour, redacted
create table traffic_names (
    at        integer not null,
    -- all zero: everybody together
    client_id blob    not null check (length(client_id) = 16),
    names     text    not null,
    primary key (at, client_id)
) strict, without rowid;

-- how far a forwarder's counters have been counted, written together with what was counted: a
-- program that comes back counts on from here
create table traffic_counted (
    gateway text    not null,
    port    integer not null,
    -- of that forwarder's process
    run     integer not null,
    carried text    not null,
    primary key (gateway, port, run)
) strict, without rowid;
