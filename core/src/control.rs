//! What the API and a forwarder say to each other on `PGW_RUN_DIR/fwd/<port>.sock`: one JSON
//! line asks, one JSON line answers, as often as the connection lasts. Who follows is answered
//! again and again.

mod traffic;

use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::health::CheckFailure;
use crate::ids::MappingId;

pub use traffic::{Carried, FwdTraffic, MAX_NAMES, NameCount, Sum};

/// Connections in one answer.
pub const MAX_PAGE: u32 = 1_000;

/// How often a follower hears something when there is nothing to tell.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "ask")]
pub enum Ask {
    Status,
    /// Some of the open connections, oldest first. What is open during all of the pages is on
    /// exactly one of them.
    Connections {
        /// The `next` of the page before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<u64>,
        /// [`MAX_PAGE`] at most, and by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
    },
    /// Ends one connection. Both of its ends see it broken off.
    Close {
        id: u64,
    },
    /// Leaves the port to whoever takes it next, and ends when the last connection has, or the
    /// time is over. Asked again, it can only end sooner.
    Drain {
        /// For open connections; the flag file's time if nothing is said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit_s: Option<u64>,
    },
    /// For the next forwarder of the port, of the same user: gives it the sockets that listen, as
    /// file descriptors beside the answer. Nothing changes until `Drain` comes on the same
    /// connection; if that ends without it, this forwarder takes its socket back and goes on.
    HandOver,
    /// Answered by `Seen` now, soon after each trouble with an upstream, and every
    /// [`HEARTBEAT`], for as long as the asker says nothing more.
    Follow,
    /// What was carried since the start. Who has asked once is told unasked, for the last time,
    /// when the forwarder ends.
    Traffic {
        /// With the names that were called most.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        names: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum Answer {
    Status(FwdStatus),
    Connections(ConnectionsPage),
    Closed {
        id: u64,
        /// It was there to be closed.
        was_open: bool,
    },
    /// The port is free.
    Draining {
        /// Still open.
        connections: u32,
    },
    /// The listening socket, then that for datagrams.
    HandedOver {
        /// How often the service manager wants to hear that the forwarder lives.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        watchdog_ms: Option<u64>,
    },
    Seen {
        /// Those with the latest trouble first; of very many, not all.
        upstreams: Vec<Seen>,
    },
    Traffic(FwdTraffic),
    /// The question was not understood; why, in words.
    Error {
        detail: String,
    },
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FwdStatus {
    pub version: String,
    pub pid: u32,
    pub port: u16,
    /// Of the flag file that new connections are served by.
    pub revision: Uuid,
    /// Stopping: nothing new is accepted.
    pub draining: bool,
    /// Open now.
    pub connections: u32,
    /// Since the start.
    pub accepted: u64,
    pub refused: u64,
    pub bytes_up: u64,
    pub bytes_down: u64,
    /// DNS questions of the client; absent from a forwarder that knows nothing of them.
    #[serde(default)]
    pub dns_questions: u64,
    #[serde(default)]
    pub dns_from_cache: u64,
    /// Answered with an error of the forwarder's own, or not at all.
    #[serde(default)]
    pub dns_failed: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionsPage {
    pub port: u16,
    /// Whose they all are.
    pub client: String,
    pub connections: Vec<ConnectionRow>,
    /// There are more behind this id.
    pub next: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionRow {
    /// Of this connection alone, whichever forwarder of the port it is: below 2^53, not from 1 on.
    pub id: u64,
    /// Absent, like `upstream`, until there is a tunnel, and for questions to DNS.
    pub mapping_id: Option<MappingId>,
    pub upstream: Option<String>,
    /// As the log policy shows it, `-` if it shows nothing.
    pub name: String,
    /// With the policy `full` only.
    pub destination: Option<SocketAddrV4>,
    pub bytes_up: u64,
    pub bytes_down: u64,
    pub age_ms: u64,
    /// Since a byte last moved.
    pub idle_ms: u64,
}

/// What a forwarder has seen of one upstream since it began to use it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub mapping_id: MappingId,
    /// Tunnels that it gave.
    pub ok: u64,
    /// Attempts that failed by its own fault.
    pub failed: u64,
    /// Attempts in which it hung or broke off, where the destination may be at fault.
    pub unclear: u64,
    /// The last of those that failed or were unclear.
    pub trouble: Option<Trouble>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    pub kind: CheckFailure,
    /// One line without secrets, and without the destination.
    pub words: String,
    pub ago_ms: u64,
}

pub fn socket_path(run_dir: &Path, port: u16) -> PathBuf {
    run_dir.join("fwd").join(format!("{port}.sock"))
}

pub fn flag_path(state_dir: &Path, port: u16) -> PathBuf {
    state_dir.join("ports").join(port.to_string())
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
        let golden = include_str!("../tests/golden/control.json");
        let talk: Conversation = serde_json::from_str(golden).unwrap();
        assert_eq!(serde_json::to_string_pretty(&talk).unwrap().trim(), golden.trim());
    }

    #[test]
    fn what_is_not_said_in_a_question_has_its_usual_value() {
        for (text, want) in [
            (r#"{"ask":"connections"}"#, Ask::Connections { after: None, limit: None }),
            (r#"{"ask":"drain"}"#, Ask::Drain { limit_s: None }),
            (r#"{"ask":"traffic"}"#, Ask::Traffic { names: false }),
        ] {
            assert_eq!(serde_json::from_str::<Ask>(text).unwrap(), want);
        }
        serde_json::from_str::<Ask>(r#"{"ask":"close"}"#).unwrap_err();
    }

    #[test]
    fn the_golden_lines_are_read_and_written_back_the_same() {
        let golden = include_str!("../tests/golden/follow.jsonl");
        let (ask, answer) = golden.trim_end().split_once('\n').unwrap();
        assert_eq!(serde_json::from_str::<Ask>(ask).unwrap(), Ask::Follow);
        assert_eq!(serde_json::to_string(&Ask::Follow).unwrap(), ask);
        let seen: Answer = serde_json::from_str(answer).unwrap();
        assert!(matches!(&seen, Answer::Seen { upstreams } if upstreams.len() == 2));
        assert_eq!(serde_json::to_string(&seen).unwrap(), answer);
    }
}
