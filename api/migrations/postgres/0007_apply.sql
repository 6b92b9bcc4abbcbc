-- The tables of sqlite/0007, for PostgreSQL: read that one for what they mean.
create table applies (
    id         uuid  not null primary key,
    gateway    text  not null,
    state      text  not null check (state in ('waiting', 'confirmed', 'rolled_back')),
    applied_by text  not null,
    applied_at text  not null,
    confirm_by text  not null,
    undo       bytea,
    constraint what_waits_can_be_undone check ((state = 'waiting') = (undo is not null))
);

create unique index applies_gateway on applies (gateway);

alter table clients add column ip_number bigint not null generated always as (
    split_part(replace(ip, '/32', ''), '.', 1)::bigint * 16777216
    + split_part(replace(ip, '/32', ''), '.', 2)::bigint * 65536
    + split_part(replace(ip, '/32', ''), '.', 3)::bigint * 256
    + split_part(replace(ip, '/32', ''), '.', 4)::bigint
) stored;

-- byte by byte, as SQLite does: what is sorted is compared so
alter table proxies alter column updated_at type text collate "C";
alter table clients alter column updated_at type text collate "C";
alter table mappings alter column updated_at type text collate "C";

create index proxies_by_name on proxies (lower(name), id) where removed_at is null;
create index proxies_by_update on proxies (rtrim(updated_at, 'Z'), id) where removed_at is null;
create index clients_by_name on clients (lower(name), id) where removed_at is null;
create index clients_by_ip on clients (ip_number, id) where removed_at is null;
create index clients_by_update on clients (rtrim(updated_at, 'Z'), id) where removed_at is null;
create index mappings_by_update on mappings (rtrim(updated_at, 'Z'), id) where removed_at is null;
create index mappings_by_priority on mappings (priority, id) where removed_at is null;
create index mappings_by_state on mappings (state, id) where removed_at is null;
