-- Reverse tunnels: machines that keep a connection to a gateway, and what is opened for them there.
create table tunnel_clients (
    id              blob    not null primary key check (length(id) = 16),
    gateway         text    not null,
    name            text    not null,
    note            text    not null,
    enabled         integer not null check (enabled in (0, 1)),
    -- SHA-256 of its token, as hexadecimal digits
    token           text    not null check (length(token) = 64),
    -- a machine has come in with this token
    enrolled        integer not null check (enrolled in (0, 1)),
    -- ports and from-to, separated by commas; empty is the whole range
    allowed_ports   text    not null,
    max_tunnels     integer not null,
    max_connections integer not null,
    -- bytes per second, in each direction
    bandwidth       integer,
    -- what the tunnel daemon said last; the session is null while it is offline
    session_id      blob,
    address         text,
    version         text,
    carrier         text,
    rtt_ms          integer,
    last_seen       text,
    revision        integer not null default 1,
    created_at      text    not null,
    updated_at      text    not null
) strict;

create unique index tunnel_clients_name on tunnel_clients (gateway, name);

-- A code by which a machine may once make its token known.
create table tunnel_enrolments (
    id               blob not null primary key check (length(id) = 16),
    tunnel_client_id blob not null references tunnel_clients (id),
    code             text not null check (length(code) = 64),
    expires_at       text not null
) strict;

create index tunnel_enrolments_client on tunnel_enrolments (tunnel_client_id);

-- The operator's, and, as long as they are there, those that clients asked for themselves.
create table tunnels (
    id                  blob    not null primary key check (length(id) = 16),
    tunnel_client_id    blob    not null references tunnel_clients (id),
    -- its client's
    gateway             text    not null,
    name                text    not null,
    origin              text    not null check (origin in ('client', 'operator')),
    protocol            text    not null check (protocol in ('tcp', 'udp', 'both', 'http')),
    public_port         integer,
    -- of http; empty is any
    host                text    not null,
    path                text    not null,
    header_name         text    not null,
    header_value        text    not null,
    local_host          text    not null,
    local_port          integer not null,
    enabled             integer not null check (enabled in (0, 1)),
    verified            integer not null check (verified in (0, 1)),
    -- SHA-256 of the code that verifies it, until it was used
    code                text,
    code_expires_at     text,
    code_attempts       integer not null default 0,
    bandwidth           integer,
    max_connections     integer,
    max_per_visitor     integer,
    requests_per_minute integer,
    -- networks, separated by commas; empty is everybody
    visitor_allow       text    not null,
    -- names as JSON; their passwords sealed: key number, nonce, ciphertext; opens only in this row
    auth_names          text    not null,
    auth_passwords      blob,
    compression         integer not null check (compression in (0, 1)),
    proxy_protocol      integer not null check (proxy_protocol in (0, 1)),
    udp_idle_s          integer not null,
    state               text    not null check (state in ('PENDING', 'ACTIVE', 'OFFLINE', 'FAILED')),
    reason              text,
    -- since the tunnel was made; the daemon counts from its own start, and said these last
    bytes_in            integer not null default 0,
    bytes_out           integer not null default 0,
    connections         integer not null default 0,
    active              integer not null default 0,
    told_in             integer not null default 0,
    told_out            integer not null default 0,
    told_connections    integer not null default 0,
    revision            integer not null default 1,
    created_at          text    not null,
    updated_at          text    not null
) strict;

create unique index tunnels_name on tunnels (tunnel_client_id, name) where origin = 'operator';
create unique index tunnels_tcp on tunnels (gateway, public_port)
    where origin = 'operator' and protocol in ('tcp', 'both');
create unique index tunnels_udp on tunnels (gateway, public_port)
    where origin = 'operator' and protocol in ('udp', 'both');
create unique index tunnels_route on tunnels (gateway, host, path, header_name, header_value)
    where protocol = 'http';
create unique index tunnels_code on tunnels (code) where code is not null;
create index tunnels_gateway on tunnels (gateway, id);

-- Each stay of a client. No foreign key: it is told of as long as it is not too old.
create table tunnel_sessions (
    id               blob    not null primary key check (length(id) = 16),
    tunnel_client_id blob    not null,
    gateway          text    not null,
    address          text    not null,
    version          text    not null,
    carrier          text    not null,
    started_at       text    not null,
    -- null while it lasts
    ended_at         text,
    reason           text,
    bytes_in         integer not null,
    bytes_out        integer not null,
    connections      integer not null
) strict;

create index tunnel_sessions_client on tunnel_sessions (tunnel_client_id, id);
create index tunnel_sessions_open on tunnel_sessions (gateway) where ended_at is null;
