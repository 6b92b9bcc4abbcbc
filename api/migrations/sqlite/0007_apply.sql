-- What was applied and has to be confirmed. A row that waits holds, sealed, what is to be made
-- true again if nobody does; then, or once somebody has, it is only remembered until the next one.
create table applies (
    id         blob not null primary key check (length(id) = 16),
    gateway    text not null,
    state      text not null check (state in ('waiting', 'confirmed', 'rolled_back')),
    applied_by text not null,
    applied_at text not null,
    confirm_by text not null,
    undo       blob,
    constraint what_waits_can_be_undone check ((state = 'waiting') = (undo is not null))
) strict;

-- one at a time, and one to remember
create unique index applies_gateway on applies (gateway);

-- Addresses in their order as numbers: as text .10 would come before .9.
alter table clients add column ip_number integer not null generated always as (
    json_extract('[' || replace(replace(ip, '/32', ''), '.', ',') || ']', '$[0]') * 16777216
    + json_extract('[' || replace(replace(ip, '/32', ''), '.', ',') || ']', '$[1]') * 65536
    + json_extract('[' || replace(replace(ip, '/32', ''), '.', ',') || ']', '$[2]') * 256
    + json_extract('[' || replace(replace(ip, '/32', ''), '.', ',') || ']', '$[3]')
) virtual;

-- For lists that are sorted. Times are written without the zeros at their end, so that only without
-- the Z behind them is their order as text their order in time.
create index proxies_by_name on proxies (lower(name), id) where removed_at is null;
create index proxies_by_update on proxies (rtrim(updated_at, 'Z'), id) where removed_at is null;
create index clients_by_name on clients (lower(name), id) where removed_at is null;
create index clients_by_ip on clients (ip_number, id) where removed_at is null;
create index clients_by_update on clients (rtrim(updated_at, 'Z'), id) where removed_at is null;
create index mappings_by_update on mappings (rtrim(updated_at, 'Z'), id) where removed_at is null;
create index mappings_by_priority on mappings (priority, id) where removed_at is null;
create index mappings_by_state on mappings (state, id) where removed_at is null;
