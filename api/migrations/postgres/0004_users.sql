-- The tables of sqlite/0004, for PostgreSQL: read that one for what they mean.

create table users (
    id            uuid   not null primary key,
    name          text   collate "C" not null,
    role          text   not null check (role in ('admin', 'operator', 'viewer')),
    password      text   not null,
    revision      bigint not null default 1,
    last_login_at text,
    created_at    text   not null,
    updated_at    text   not null
);

create unique index users_name on users (name);

create table sessions (
    hash      bytea not null primary key check (length(hash) = 32),
    user_id   uuid  not null references users (id) on delete cascade,
    opened_at text  collate "C" not null,
    seen_at   text  collate "C" not null
);

create index sessions_user on sessions (user_id);

create table replies (
    key        bytea not null primary key check (length(key) = 32),
    claimed_at text  collate "C" not null,
    sealed     bytea not null
);

create index replies_age on replies (claimed_at);

alter table tokens drop constraint tokens_role_check;
alter table tokens add constraint tokens_role_check check (role in ('admin', 'operator', 'viewer'));
