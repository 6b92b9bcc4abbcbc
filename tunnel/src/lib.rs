//! Reverse tunnels: what `pgw-tunneld` and `pgw-connect` say to each other, and both of them.
//!
//! Read `wire` for the words, `carrier` for what they travel on, `relay` for how a visitor's bytes
//! do, `gateway` and `connect` for the two ends.

pub mod backoff;
pub mod bucket;
pub mod carrier;
pub mod connect;
#[cfg(feature = "gateway")]
pub mod gateway;
pub mod heartbeat;
pub mod relay;
pub mod secret;
pub mod tls;
pub mod wire;
