-- As sqlite/0010: read that one for what it means.
create table identity (
    number  bigint not null primary key check (number = 1),
    id      uuid   not null,
    made_at text collate "C"
);
