//! What is said on a session's first connection once it stands.

use pgw_core::tunnel::{Filter, Reason, State};
use serde::{Deserialize, Serialize};

use super::hello::RefusalCode;

/// From the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "say")]
pub enum ClientWord {
    Ping {
        number: u64,
        /// Of the one before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rtt_ms: Option<u32>,
    },
    /// Closes what it asked for in its hello, by its place there.
    Close { index: u32 },
    /// It leaves, and wants its ports kept no longer.
    Bye,
}

/// From the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "say")]
pub enum GatewayWord {
    Pong {
        number: u64,
    },
    /// What became of a port that was asked for.
    Port {
        index: u32,
        state: State,
        public_port: Option<u16>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Reason>,
    },
    /// The operator's filter is another one from now on.
    Filter {
        filter: Filter,
    },
    /// Nobody new comes; what is open has so long.
    Drain {
        limit_s: u32,
    },
    /// A newer session has taken this one's place.
    Replaced,
    /// An operator ended the session.
    Disconnected,
    /// What let this client in does so no longer.
    Revoked {
        code: RefusalCode,
    },
}
