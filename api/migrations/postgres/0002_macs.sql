-- As sqlite/0002.
alter table clients add column mac text collate "C";
