-- As sqlite/0009: read that one for what it means.
create table tunnel_clients (
    id              uuid not null primary key,
    gateway         text collate "C" not null,
    name            text collate "C" not null,
    note            text not null,
    enabled         boolean not null,
    token           text collate "C" not null check (length(token) = 64),
    enrolled        boolean not null,
    allowed_ports   text not null,
    max_tunnels     bigint not null,
    max_connections bigint not null,
    bandwidth       bigint,
    session_id      uuid,
    address         text collate "C",
    version         text,
    carrier         text,
    rtt_ms          bigint,
    last_seen       text collate "C",
    revision        bigint not null default 1,
    created_at      text collate "C" not null,
    updated_at      text collate "C" not null
);

create unique index tunnel_clients_name on tunnel_clients (gateway, name);

create table tunnel_enrolments (
    id               uuid not null primary key,
    tunnel_client_id uuid not null references tunnel_clients (id),
    code             text collate "C" not null check (length(code) = 64),
    expires_at       text collate "C" not null
);

create index tunnel_enrolments_client on tunnel_enrolments (tunnel_client_id);

create table tunnels (
    id                  uuid not null primary key,
    tunnel_client_id    uuid not null references tunnel_clients (id),
    gateway             text collate "C" not null,
    name                text collate "C" not null,
    origin              text collate "C" not null check (origin in ('client', 'operator')),
    protocol            text collate "C" not null check (protocol in ('tcp', 'udp', 'both', 'http')),
    public_port         bigint,
    host                text collate "C" not null,
    path                text collate "C" not null,
    header_name         text collate "C" not null,
    header_value        text collate "C" not null,
    local_host          text collate "C" not null,
    local_port          bigint not null,
    enabled             boolean not null,
    verified            boolean not null,
    code                text collate "C",
    code_expires_at     text collate "C",
    code_attempts       bigint not null default 0,
    bandwidth           bigint,
    max_connections     bigint,
    max_per_visitor     bigint,
    requests_per_minute bigint,
    visitor_allow       text not null,
    auth_names          text not null,
    auth_passwords      bytea,
    compression         boolean not null,
    proxy_protocol      boolean not null,
    udp_idle_s          bigint not null,
    state               text collate "C" not null check (state in ('PENDING', 'ACTIVE', 'OFFLINE', 'FAILED')),
    reason              text,
    bytes_in            bigint not null default 0,
    bytes_out           bigint not null default 0,
    connections         bigint not null default 0,
    active              bigint not null default 0,
    told_in             bigint not null default 0,
    told_out            bigint not null default 0,
    told_connections    bigint not null default 0,
    revision            bigint not null default 1,
    created_at          text collate "C" not null,
    updated_at          text collate "C" not null
);

create unique index tunnels_name on tunnels (tunnel_client_id, name) where origin = 'operator';
create unique index tunnels_tcp on tunnels (gateway, public_port)
    where origin = 'operator' and protocol in ('tcp', 'both');
create unique index tunnels_udp on tunnels (gateway, public_port)
    where origin = 'operator' and protocol in ('udp', 'both');
create unique index tunnels_route on tunnels (gateway, host, path, header_name, header_value)
    where protocol = 'http';
create unique index tunnels_code on tunnels (code) where code is not null;
create index tunnels_gateway on tunnels (gateway, id);

create table tunnel_sessions (
    id               uuid not null primary key,
    tunnel_client_id uuid not null,
    gateway          text collate "C" not null,
    address          text collate "C" not null,
    version          text not null,
    carrier          text not null,
    started_at       text collate "C" not null,
    ended_at         text collate "C",
    reason           text,
    bytes_in         bigint not null,
    bytes_out        bigint not null,
    connections      bigint not null
);

create index tunnel_sessions_client on tunnel_sessions (tunnel_client_id, id);
create index tunnel_sessions_open on tunnel_sessions (gateway) where ended_at is null;
