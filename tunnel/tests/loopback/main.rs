//! Both programs over loopback: a gateway with its socket and its state, and clients that keep
//! tunnels to it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed helper fails its test"
)]

mod carriers;
mod crowds;
mod faults;
mod http;
mod life;
mod traffic;
mod visitors;
mod world;
