-- The hardware address that alone may use the client's address, aa:bb:cc:dd:ee:ff; null is any.
-- Not unique: one device may have several addresses, and each of them is a client.
alter table clients add column mac text;
