-- What the operator wants: proxies, clients, mappings; who may say so: tokens. Ids are uuid v7,
-- so their order is the order of creation. Times are rfc 3339 text in utc.
--
-- A row with removed_at is going: nobody sees it any more, but it holds its port until the rule
-- and the forwarder are gone. Uniqueness therefore counts only rows without it, so that a name
-- or an address can be used again at once.

create table proxies (
    id                blob    not null primary key check (length(id) = 16),
    name              text    not null,
    scheme            text    not null check (scheme in ('http', 'https', 'socks5')),
    host              text    not null,
    port              integer not null check (port between 1 and 65535),
    username          text,
    -- sealed: key number, nonce, ciphertext; opens only in this row
    password          blob,
    enabled           integer not null check (enabled in (0, 1)),
    note              text    not null,
    labels            text    not null check (json_type(labels) = 'object'),
    -- counts the ways in which it was dialled: a check of a former way is not written down
    dial_revision     integer not null default 0,
    health_status     text    not null default 'UNKNOWN'
                      check (health_status in ('UNKNOWN', 'OK', 'DEGRADED', 'DOWN')),
    health_latency_ms integer,
    health_exit_ip    text,
    health_checked_at text,
    health_error      text,
    created_at        text    not null,
    updated_at        text    not null,
    removed_at        text,
    constraint password_needs_username check (password is null or username is not null)
) strict;

create unique index proxies_name on proxies (name) where removed_at is null;

create table clients (
    id         blob not null primary key check (length(id) = 16),
    name       text not null,
    -- one address, written a.b.c.d/32
    ip         text not null,
    note       text not null,
    created_at text not null,
    updated_at text not null,
    removed_at text
) strict;

create unique index clients_ip on clients (ip) where removed_at is null;

-- one port, one client: both columns are unique, whatever a program believes
create table ports (
    port      integer not null primary key check (port between 1 and 65535),
    client_id blob    not null unique references clients (id)
) strict;

create table mappings (
    id         blob    not null primary key check (length(id) = 16),
    -- by way of ports: a port cannot be given away while a mapping, even a going one, stands on it
    client_id  blob    not null references ports (client_id),
    proxy_id   blob    not null references proxies (id),
    priority   integer not null check (priority between 0 and 65535),
    target     text    not null check (target in ('original', 'hostname')),
    enabled    integer not null check (enabled in (0, 1)),
    state      text    not null check (state in ('PENDING', 'APPLIED', 'FAILED')),
    reason     text    not null,
    applied_at text,
    created_at text    not null,
    updated_at text    not null,
    removed_at text,
    constraint applied_has_its_time check ((state = 'APPLIED') = (applied_at is not null))
) strict;

create unique index mappings_pair on mappings (client_id, proxy_id) where removed_at is null;
create index mappings_client on mappings (client_id);
create index mappings_proxy on mappings (proxy_id);

create table tokens (
    id         blob not null primary key check (length(id) = 16),
    name       text not null,
    role       text not null check (role in ('admin', 'viewer')),
    -- sha-256 of the token, whose text is nowhere
    hash       blob not null unique check (length(hash) = 32),
    created_at text not null,
    revoked_at text
) strict;

create unique index tokens_name on tokens (name) where revoked_at is null;
