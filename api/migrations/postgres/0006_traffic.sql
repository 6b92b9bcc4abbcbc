-- As sqlite/0006: read that one for what they mean.

create table traffic (
    step_s      bigint not null,
    at          bigint not null,
    client_id   uuid   not null,
    proxy_id    uuid   not null,
    connections bigint not null,
    bytes_up    bigint not null,
    bytes_down  bigint not null,
    primary key (step_s, at, client_id, proxy_id)
);

create table health_history (
    step_s     bigint not null,
    at         bigint not null,
    gateway    text   collate "C" not null,
    proxy_id   uuid   not null,
    answered   bigint not null,
    latency_ms bigint not null,
    worst      bigint not null check (worst between 0 and 3),
    primary key (step_s, at, gateway, proxy_id)
);

create table traffic_names (
    at        bigint not null,
    client_id uuid   not null,
    names     jsonb  not null,
    primary key (at, client_id)
);

create table traffic_counted (
    gateway text   collate "C" not null,
    port    bigint not null,
    run     bigint not null,
    carried jsonb  not null,
    primary key (gateway, port, run)
);
