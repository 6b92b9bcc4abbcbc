//! What the API and a forwarder say to each other on `PGW_RUN_DIR/fwd/<port>.sock`: one JSON
//! line asks, one JSON line answers, as often as the connection lasts.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "ask")]
pub enum Ask {
    Status,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum Answer {
    Status(FwdStatus),
    /// The question was not understood; why, in words.
    Error {
        detail: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

pub fn socket_path(run_dir: &Path, port: u16) -> PathBuf {
    run_dir.join("fwd").join(format!("{port}.sock"))
}

pub fn flag_path(state_dir: &Path, port: u16) -> PathBuf {
    state_dir.join("ports").join(port.to_string())
}
