-- What the operator expects of a mapping's exit address, and who leaves by which.

-- an address or a network; null is any
alter table mappings add column expect_exit    text;
-- two letters of iso 3166; null is any
alter table mappings add column expect_country text;
alter table mappings add column expect_stable  integer not null default 0 check (expect_stable in (0, 1));
-- no other device leaves by the same address
alter table mappings add column exclusive      integer not null default 0 check (exclusive in (0, 1));
-- to which expect_stable holds it: the one with which it was applied first
alter table mappings add column stable_exit_ip text;

-- of exit_ip, as it was found
alter table proxy_health add column country text;

-- By which address each mapping leaves, or is about to: written before its door opens, and gone after it
-- is shut. Of all gateways: who has an address that is not to be shared is found out here. Numbers are
-- given out in the order in which the addresses were taken.
create table exit_holds (
    number     integer not null primary key autoincrement,
    mapping_id blob    not null unique references mappings (id) on delete cascade,
    client_id  blob    not null,
    exit_ip    text    not null,
    -- as its mapping
    exclusive  integer not null check (exclusive in (0, 1))
) strict;

create index exit_holds_ip on exit_holds (exit_ip, number);
create index exit_holds_exclusive on exit_holds (exit_ip, number) where exclusive;
