//! What the API and `pgw-tunneld` say to each other on `PGW_RUN_DIR/tunnel/control.sock`: one JSON line
//! asks, one answers, as often as the connection lasts. Who follows hears events until it hangs up.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Desired, Origin, PortConflict, Protocol, Route, Target, TokenHash};
use crate::ids::{EnrolmentId, SessionId, TunnelClientId, TunnelId};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "ask")]
pub enum Ask {
    /// From now on this is what shall be. Answered when it is kept; what it changes follows.
    Apply {
        desired: Desired,
    },
    Status,
    /// The visitors of one tunnel that are connected now.
    Visitors {
        tunnel: TunnelId,
    },
    /// Ends a tunnel that a client asked for. It may ask again in its next session.
    Close {
        tunnel: TunnelId,
    },
    /// Ends a client's session. It may come back.
    Disconnect {
        client: TunnelClientId,
    },
    /// Answered by the status now, and by events for as long as the asker says nothing more.
    Follow,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum Answer {
    Applied {
        revision: Uuid,
    },
    Status(Status),
    /// At most a thousand of them.
    Visitors {
        visitors: Vec<VisitorRow>,
    },
    /// For `Close` and `Disconnect`.
    Ended {
        was_there: bool,
    },
    Event(Event),
    /// The question was not understood, or cannot be done; why, in words.
    Error {
        detail: String,
    },
}

/// What happened. Whoever missed some asks for the status: it says all that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    ClientOnline {
        client: TunnelClientId,
        session: SessionStatus,
    },
    ClientOffline {
        client: TunnelClientId,
        /// As it was at its end.
        session: SessionStatus,
        /// In words: "replaced by a newer session", "nothing heard for 45 s".
        reason: String,
    },
    /// A tunnel is there, or is another than before.
    Tunnel(TunnelStatus),
    /// A tunnel is there no more.
    TunnelGone {
        tunnel: TunnelId,
    },
    /// To be written down: the client's token is known from now on, and the code is used up.
    Enrolled(Enrolled),
    /// Somebody was not let in.
    Refused {
        address: SocketAddr,
        /// What it called itself, cut to what a log can bear.
        name: String,
        code: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    /// Of the document that holds now.
    pub revision: Uuid,
    /// Stopping: nobody new is let in.
    pub draining: bool,
    /// What clients pin: the SHA-256 of the gateway's certificate.
    pub ca_pin: String,
    pub clients: Vec<ClientStatus>,
    pub tunnels: Vec<TunnelStatus>,
    /// Until a document comes in which the code is gone.
    pub enrolled: Vec<Enrolled>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientStatus {
    pub id: TunnelClientId,
    pub name: String,
    /// Absent: offline.
    pub session: Option<SessionStatus>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStatus {
    pub id: SessionId,
    pub address: SocketAddr,
    /// Of the client's program.
    pub version: String,
    /// `tls` or `websocket`.
    pub carrier: String,
    pub age_ms: u64,
    pub heard_ms: u64,
    /// Absent until it was measured.
    pub rtt_ms: Option<u32>,
    /// Connections that are kept for visitors.
    pub lanes: u32,
    /// Of its visitors, since it began: what came from them, what went to them, and how many there were.
    #[serde(default)]
    pub bytes_in: u64,
    #[serde(default)]
    pub bytes_out: u64,
    #[serde(default)]
    pub connections: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelStatus {
    pub id: TunnelId,
    pub client_id: TunnelClientId,
    pub name: String,
    pub origin: Origin,
    pub protocol: Protocol,
    pub public_port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
    pub target: Target,
    pub state: State,
    pub reason: Option<Reason>,
    /// From visitors.
    pub bytes_in: u64,
    /// To visitors.
    pub bytes_out: u64,
    /// Since the tunnel was made, in this run of the program.
    pub connections: u64,
    pub active: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = TunnelState))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    Pending,
    Active,
    /// The client is away, and the port is closed.
    Offline,
    Failed,
}

/// Why a tunnel is not open, for programs and for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<PortConflict>,
    pub detail: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    pub enrolment: EnrolmentId,
    pub client: TunnelClientId,
    pub token: TokenHash,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VisitorRow {
    pub address: IpAddr,
    /// Of TCP connections and UDP conversations.
    pub connections: u32,
    /// Since when at least one of them is open, and what they have carried since.
    #[serde(default)]
    pub since_ms: u64,
    #[serde(default)]
    pub bytes_in: u64,
    #[serde(default)]
    pub bytes_out: u64,
}

impl From<PortConflict> for Reason {
    fn from(conflict: PortConflict) -> Self {
        Self { code: Some(conflict), detail: conflict.to_string() }
    }
}

pub fn socket_path(run_dir: &Path) -> PathBuf {
    // In a directory that the daemon owns, which has no right to make anything beside it.
    run_dir.join("tunnel").join("control.sock")
}

/// Where `pgw-tunneld` keeps the last document.
pub fn desired_path(state_dir: &Path) -> PathBuf {
    state_dir.join("tunnel").join("desired.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Conversation {
        asks: Vec<Ask>,
        answers: Vec<Answer>,
    }

    #[test]
    fn the_golden_conversation_is_read_and_written_back_the_same() {
        let golden = include_str!("../../tests/golden/tunnel_control.json");
        let talk: Conversation = serde_json::from_str(golden).unwrap();
        assert_eq!(serde_json::to_string_pretty(&talk).unwrap().trim(), golden.trim());
    }
}
