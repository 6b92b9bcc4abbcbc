-- The tables of sqlite/0001, for PostgreSQL: read that one for what they mean. What differs:
-- ids are uuid, yes and no are boolean, whole numbers are bigint, sealed values are bytea, labels
-- are jsonb. Text that is searched or sorted is compared byte by byte (collate "C"), as SQLite does.

create table proxies (
    id                uuid    not null primary key,
    name              text    collate "C" not null,
    scheme            text    not null check (scheme in ('http', 'https', 'socks5')),
    host              text    collate "C" not null,
    port              bigint  not null check (port between 1 and 65535),
    username          text,
    -- sealed: key number, nonce, ciphertext; opens only in this row
    password          bytea,
    enabled           boolean not null,
    note              text    collate "C" not null,
    labels            jsonb   not null check (jsonb_typeof(labels) = 'object'),
    dial_revision     bigint  not null default 0,
    health_status     text    not null default 'UNKNOWN'
                      check (health_status in ('UNKNOWN', 'OK', 'DEGRADED', 'DOWN')),
    health_latency_ms bigint,
    health_exit_ip    text,
    health_checked_at text,
    health_error      text,
    created_at        text    not null,
    updated_at        text    not null,
    removed_at        text,
    constraint password_needs_username check (password is null or username is not null)
);

create unique index proxies_name on proxies (name) where removed_at is null;

create table clients (
    id         uuid not null primary key,
    name       text collate "C" not null,
    ip         text collate "C" not null,
    note       text collate "C" not null,
    created_at text not null,
    updated_at text not null,
    removed_at text
);

create unique index clients_ip on clients (ip) where removed_at is null;

create table ports (
    port      bigint not null primary key check (port between 1 and 65535),
    client_id uuid   not null unique references clients (id)
);

create table mappings (
    id         uuid    not null primary key,
    client_id  uuid    not null references ports (client_id),
    proxy_id   uuid    not null references proxies (id),
    priority   bigint  not null check (priority between 0 and 65535),
    target     text    not null check (target in ('original', 'hostname')),
    enabled    boolean not null,
    state      text    not null check (state in ('PENDING', 'APPLIED', 'FAILED')),
    reason     text    not null,
    applied_at text,
    created_at text    not null,
    updated_at text    not null,
    removed_at text,
    constraint applied_has_its_time check ((state = 'APPLIED') = (applied_at is not null))
);

create unique index mappings_pair on mappings (client_id, proxy_id) where removed_at is null;
create index mappings_client on mappings (client_id);
create index mappings_proxy on mappings (proxy_id);

create table tokens (
    id         uuid  not null primary key,
    name       text  collate "C" not null,
    role       text  not null check (role in ('admin', 'viewer')),
    hash       bytea not null unique check (length(hash) = 32),
    created_at text  not null,
    revoked_at text
);

create unique index tokens_name on tokens (name) where revoked_at is null;
