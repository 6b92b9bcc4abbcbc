-- Several gateways may share one database (PostgreSQL; in a file there is one). Proxies, tokens
-- and users are everybody's. Clients, their ports and their mappings belong to one gateway, and
-- what was found of a proxy's health is each gateway's own.
--
-- Rows from before belong to '', until the gateway that opens the database takes them over.

create table gateways (
    name       text    not null primary key,
    version    text    not null,
    -- its ports: whoever maps a client of another gateway takes one of that gateway's
    base_port  integer not null check (base_port between 1 and 65535),
    max_port   integer not null check (max_port between base_port and 65535),
    started_at text    not null,
    seen_at    text    not null
) strict;

-- +1 with each change by an operator, for If-Match; health and verdicts leave it alone
alter table proxies  add column revision integer not null default 1;
alter table clients  add column revision integer not null default 1;
alter table mappings add column revision integer not null default 1;

alter table clients add column gateway text not null default '';
drop index clients_ip;
create unique index clients_ip on clients (gateway, ip) where removed_at is null;
-- what a port refers to
create unique index clients_gateway on clients (id, gateway);

-- Built anew, as its primary key has to be another; mappings refer to it meanwhile and after.
pragma defer_foreign_keys = on;
create table former_ports (port integer not null, client_id blob not null) strict;
insert into former_ports select port, client_id from ports;
drop table ports;
-- one port of a gateway, one client
create table ports (
    gateway   text    not null,
    port      integer not null check (port between 1 and 65535),
    client_id blob    not null unique,
    primary key (gateway, port),
    foreign key (client_id, gateway) references clients (id, gateway) on update cascade
) strict;
insert into ports (gateway, port, client_id) select '', port, client_id from former_ports;
drop table former_ports;

create table proxy_health (
    gateway    text not null,
    proxy_id   blob not null references proxies (id) on delete cascade,
    status     text not null check (status in ('UNKNOWN', 'OK', 'DEGRADED', 'DOWN')),
    latency_ms integer,
    exit_ip    text,
    checked_at text,
    error      text,
    primary key (gateway, proxy_id)
) strict;
insert into proxy_health (gateway, proxy_id, status, latency_ms, exit_ip, checked_at, error)
    select '', id, health_status, health_latency_ms, health_exit_ip, health_checked_at, health_error
    from proxies;
alter table proxies drop column health_status;
alter table proxies drop column health_latency_ms;
alter table proxies drop column health_exit_ip;
alter table proxies drop column health_checked_at;
alter table proxies drop column health_error;

-- One row: a word that only the right key opens, so that a wrong one is found out at the start.
create table vault (
    number integer not null primary key check (number = 1),
    proof  blob    not null
) strict;
