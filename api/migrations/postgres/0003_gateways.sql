-- As sqlite/0003, which says what it means.

create table gateways (
    name       text   collate "C" not null primary key,
    version    text   not null,
    base_port  bigint not null check (base_port between 1 and 65535),
    max_port   bigint not null check (max_port between base_port and 65535),
    started_at text   not null,
    seen_at    text   not null
);

alter table proxies  add column revision bigint not null default 1;
alter table clients  add column revision bigint not null default 1;
alter table mappings add column revision bigint not null default 1;

alter table clients add column gateway text collate "C" not null default '';
drop index clients_ip;
create unique index clients_ip on clients (gateway, ip) where removed_at is null;
create unique index clients_gateway on clients (id, gateway);

alter table ports add column gateway text collate "C" not null default '';
alter table ports alter column gateway drop default;
alter table ports drop constraint ports_pkey;
alter table ports add primary key (gateway, port);
alter table ports drop constraint ports_client_id_fkey;
alter table ports add foreign key (client_id, gateway) references clients (id, gateway) on update cascade;

create table proxy_health (
    gateway    text collate "C" not null,
    proxy_id   uuid not null references proxies (id) on delete cascade,
    status     text not null check (status in ('UNKNOWN', 'OK', 'DEGRADED', 'DOWN')),
    latency_ms bigint,
    exit_ip    text,
    checked_at text,
    error      text,
    primary key (gateway, proxy_id)
);
insert into proxy_health (gateway, proxy_id, status, latency_ms, exit_ip, checked_at, error)
    select '', id, health_status, health_latency_ms, health_exit_ip, health_checked_at, health_error
    from proxies;
alter table proxies drop column health_status;
alter table proxies drop column health_latency_ms;
alter table proxies drop column health_exit_ip;
alter table proxies drop column health_checked_at;
alter table proxies drop column health_error;

create table vault (
    number bigint not null primary key check (number = 1),
    proof  bytea  not null
);
