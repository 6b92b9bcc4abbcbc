-- People and their sessions; the answers that are kept for callers who ask the same thing twice;
-- and tokens for operators.

create table users (
    id            blob    not null primary key check (length(id) = 16),
    name          text    not null,
    role          text    not null check (role in ('admin', 'operator', 'viewer')),
    -- argon2id with its salt and its cost, as a phc string
    password      text    not null,
    revision      integer not null default 1,
    last_login_at text,
    created_at    text    not null,
    updated_at    text    not null
) strict;

create unique index users_name on users (name);

create table sessions (
    -- sha-256 of what the cookie holds, which is nowhere
    hash      blob not null primary key check (length(hash) = 32),
    user_id   blob not null references users (id) on delete cascade,
    opened_at text not null,
    seen_at   text not null
) strict;

create index sessions_user on sessions (user_id);

create table replies (
    -- sha-256 of who asked, what for, and the key that was given
    key        blob not null primary key check (length(key) = 32),
    claimed_at text not null,
    -- sealed: what was asked exactly, and the answer once there is one
    sealed     blob not null
) strict;

create index replies_age on replies (claimed_at);

create table tokens_of_three_roles (
    id         blob not null primary key check (length(id) = 16),
    name       text not null,
    role       text not null check (role in ('admin', 'operator', 'viewer')),
    -- sha-256 of the token, whose text is nowhere
    hash       blob not null unique check (length(hash) = 32),
    created_at text not null,
    revoked_at text
) strict;

insert into tokens_of_three_roles (id, name, role, hash, created_at, revoked_at)
    select id, name, role, hash, created_at, revoked_at from tokens;
drop table tokens;
alter table tokens_of_three_roles rename to tokens;
create unique index tokens_name on tokens (name) where revoked_at is null;
