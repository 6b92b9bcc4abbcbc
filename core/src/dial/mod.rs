//! Through an upstream to a destination, under one deadline. The health probe and the
//! forwarder both dial here, so "healthy" means "a forwarder could".

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use crate::health::CheckFailure;
use crate::proxy::{Host, Upstream};

/// Where the tunnel shall end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    Addr(SocketAddrV4),
    Name(Host, u16),
}

/// Why there is no tunnel, in the words that operators act on.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct DialError {
    pub kind: CheckFailure,
    /// One line without secrets: "407 Proxy Authentication Required", "connection refused".
    pub detail: String,
    #[source]
    pub source: Option<std::io::Error>,
}
