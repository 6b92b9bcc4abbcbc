//! The tables, and what is read from them and written to them: once, for every database. Each
//! database's module loads this folder as a child of its own and says beside it, as `db`, what
//! `Db` and `Connection` are there and how a transaction begins. What is written here is
//! therefore checked and compiled for each of them, and holds to what they have in common:
//! `$1` for what is bound, `returning`, `on conflict`, `lower(x) like`, never a function or a
//! type of one of them. A list of what a column is in each: `docs/decisions/0015`.

mod applies;
mod carry_out;
mod clients;
pub(super) mod dump;
mod events;
mod exits;
mod gateways;
mod holds;
mod identity;
mod journal;
mod lent;
mod lists;
mod mappings;
mod people;
mod plans;
mod ports;
mod proxies;
mod replies;
mod retired;
mod sessions;
mod snapshot;
mod store;
mod store_applies;
mod store_exits;
mod store_tunnels;
mod tokens;
mod traffic;
mod tunnel_clients;
mod tunnel_sessions;
mod tunnels;
mod users;
mod values;
mod vault;
mod webhooks;

use super::db;
pub use store::SqlStore;
