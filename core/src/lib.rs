//! What pgw knows, as values and functions: no files, no clock, no environment, no sockets
//! (but for `dial`, `files`, `resources`, `serve` and `service`, the impure rooms, each behind its feature).
//!
//! Read `state` to learn what decides a mapping's state, `health` for what opens a gate,
//! `flag`, `active` and `control` for the documents that the programs exchange.
#![deny(clippy::wildcard_enum_match_arm)]

pub mod active;
pub mod browser;
pub mod cause;
pub mod client;
pub mod control;
pub mod country;
#[cfg(feature = "dial")]
pub mod dial;
pub mod dns;
pub mod drill;
pub mod exit;
pub mod explain;
#[cfg(feature = "files")]
pub mod files;
pub mod flag;
pub mod handshake;
pub mod health;
pub mod hosts;
pub mod ids;
pub mod log;
pub mod mac;
pub mod mapping;
pub mod news;
pub mod ports;
pub mod proxy;
pub mod redact;
#[cfg(feature = "resources")]
pub mod resources;
pub mod seldom;
#[cfg(feature = "serve")]
pub mod serve;
#[cfg(feature = "service")]
pub mod service;
pub mod settings;
pub mod sni;
pub mod state;
pub mod time;
pub mod tunnel;
