//! pgw-agent: makes the kernel hold what the API says, and asks the kernel whether it does.
//!
//! Read `nft::plan` to know what pgw means, `nft::render` to know what it does to a packet, and
//! `reconcile` for the way from the one to the other.

pub mod api;
pub mod chronicle;
pub mod conntrack;
pub mod drift;
pub mod drill;
pub mod http;
pub mod interfaces;
pub mod neighbours;
mod netlink;
pub mod nft;
pub mod reconcile;
pub mod restore;
pub mod saved;
pub mod wake;

#[cfg(test)]
mod testing;
