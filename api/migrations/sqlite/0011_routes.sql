-- What is unique is the route of an operator's tunnel. A client may ask for tunnels by name, too; it is
-- refused, which has to be written down of each of them.
drop index tunnels_route;
create unique index tunnels_route on tunnels (gateway, host, path, header_name, header_value)
    where origin = 'operator' and protocol = 'http';
