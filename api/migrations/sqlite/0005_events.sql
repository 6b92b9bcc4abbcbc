-- What happened: the stream of events, the journal and the audit in one. Written in the transaction of
-- the change that an event tells of, so ids rise in the order of the commits; autoincrement, so that
-- none is ever given twice, also when the newest were forgotten. Times have three digits after the
-- second, so that their texts sort as they do. No foreign keys: an event outlives what it tells of.
create table events (
    id         integer not null primary key autoincrement,
    at         text    not null,
    gateway    text    not null,
    kind       text    not null,
    client_id  blob,
    mapping_id blob,
    proxy_id   blob,
    -- who wanted it; null where pgw did something by itself
    asked_by   text,
    data       text    not null check (json_type(data) = 'object')
) strict;

create index events_client on events (client_id, id) where client_id is not null;
create index events_mapping on events (mapping_id, id) where mapping_id is not null;
create index events_proxy on events (proxy_id, id) where proxy_id is not null;
create index events_kind on events (kind, id);
create index events_at on events (at);

-- From which event on nothing was forgotten. One row.
create table event_log (
    only_one      integer not null primary key check (only_one = 1),
    complete_from integer not null
) strict;
insert into event_log (only_one, complete_from) values (1, 1);

-- Where each client got out when it was last written: the event, which is not forgotten while the
-- client is there, and what of it is compared.
create table client_exits (
    client_id  blob    not null primary key,
    event_id   integer not null,
    -- null while it is closed
    mapping_id blob,
    exit_ip    text
) strict;

create index client_exits_event on client_exits (event_id);

-- How far each gateway's agent has been heard.
create table agent_news (
    gateway text    not null primary key,
    run     blob    not null check (length(run) = 16),
    number  integer not null
) strict;

create table webhooks (
    id         blob    not null primary key check (length(id) = 16),
    name       text    not null,
    url        text    not null,
    -- separated by commas; empty is all
    kinds      text    not null,
    enabled    integer not null check (enabled in (0, 1)),
    -- sealed: key number, nonce, ciphertext; opens only in this row
    secret     blob    not null,
    -- it is told what comes after this event
    told_from  integer not null,
    revision   integer not null default 1,
    created_at text    not null,
    updated_at text    not null
) strict;

create unique index webhooks_name on webhooks (name);

-- How far each webhook has been told by each gateway, and how that goes.
create table deliveries (
    webhook_id    blob    not null references webhooks (id),
    gateway       text    not null,
    told          integer not null,
    last_ok_at    text,
    failing_since text,
    last_error    text,
    given_up      integer not null,
    primary key (webhook_id, gateway)
) strict;
