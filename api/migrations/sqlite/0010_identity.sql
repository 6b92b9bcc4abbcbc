-- Which database this is. Gateways and their agents remember it: one that answers as another, because
-- it is new, or a setting was mistyped, knows none of their devices, and must not let them go.
create table identity (
    number  integer not null primary key check (number = 1),
    id      blob    not null check (length(id) = 16),
    -- null: it was in use before this was written down
    made_at text
) strict;
