//! What the telemetry calls stand on in tests: forwarders that are sockets, and an agent that
//! always says the same.

use std::path::Path;
use std::sync::Mutex;

use jiff::Timestamp;
use pgw_core::active::{AgentStatus, Drift};
use pgw_core::control::{Answer, Ask, ConnectionRow, ConnectionsPage, socket_path};
use pgw_core::drill::{Drill, Outcome};
use pgw_core::ids::MappingId;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixListener;

use super::*;
use crate::agent_client::{AgentError, AgentView};
use crate::telemetry::Telemetry;
use crate::telemetry::connections::Connections;
use crate::telemetry::counts::Counts;

struct FakeAgent;

#[async_trait::async_trait]
impl AgentView for FakeAgent {
    async fn status(&self) -> Result<AgentStatus, AgentError> {
        let at = Timestamp::from_second(1_800_000_000).unwrap();
        Ok(AgentStatus {
            version: "1.2.3".into(),
            generation: None,
            clients: 1,
            applied: 1,
            lan_if: "lan0".into(),
            wan_if: "wan0".into(),
            last_reconcile_at: Some(at),
            last_error: None,
            warnings: vec![],
            drift: Drift { count: 3, ..Drift::default() },
            drill: Drill { outcome: Some(Outcome::Closed), proven_closed_at: Some(at), ..Drill::default() },
        })
    }
}

pub(super) fn watch(store: Arc<SqliteStore>, bus: Arc<Bus>, run_dir: &Path) -> (Arc<Watch>, Arc<Board>) {
    let board = Arc::new(Board::new(Duration::from_secs(60)));
    let connections = Connections { store: store.clone(), board: board.clone(), run_dir: run_dir.to_owned() };
    let watch = Watch {
        telemetry: Arc::new(Telemetry::new(store.clone(), Duration::from_secs(5))),
        connections,
        counts: Counts::default(),
        store,
        board: board.clone(),
        bus,
        agent: Arc::new(FakeAgent),
        by_client: true,
    };
    (Arc::new(watch), board)
}

/// A forwarder's socket, with connections of these numbers.
pub(super) struct FakeForwarder {
    open: Arc<Mutex<Vec<u64>>>,
    _serving: tokio_util::task::AbortOnDropHandle<()>,
}

impl FakeForwarder {
    pub(super) fn start(gateway: &Gateway, port: u16, mapping: Option<MappingId>, open: &[u64]) -> Self {
        let path = socket_path(gateway.place.path(), port);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let listener = UnixListener::bind(&path).unwrap();
        let open = Arc::new(Mutex::new(open.to_vec()));
        let table = open.clone();
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let table = table.clone();
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    let mut line = String::new();
                    while stream.read_line(&mut line).await.is_ok_and(|length| length > 0) {
                        let answer = answer(serde_json::from_str(&line).unwrap(), port, mapping, &table);
                        let text = serde_json::to_string(&answer).unwrap() + "\n";
                        if stream.write_all(text.as_bytes()).await.is_err() {
                            return;
                        }
                        line.clear();
                    }
                });
            }
        });
        gateway.board.forwarder_ready(port, mapping.into_iter().collect());
        Self { open, _serving: tokio_util::task::AbortOnDropHandle::new(serving) }
    }

    pub(super) fn open(&self) -> Vec<u64> {
        self.open.lock().unwrap().clone()
    }
}

/// Somebody holds the socket and says nothing.
pub(super) fn silent_forwarder(gateway: &Gateway, port: u16) -> UnixListener {
    let path = socket_path(gateway.place.path(), port);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    gateway.board.forwarder_ready(port, [].into());
    UnixListener::bind(&path).unwrap()
}

fn answer(ask: Ask, port: u16, mapping_id: Option<MappingId>, table: &Mutex<Vec<u64>>) -> Answer {
    let mut open = table.lock().unwrap();
    let row = |id: &u64| ConnectionRow {
        id: *id,
        mapping_id,
        upstream: mapping_id.map(|_| "de1".into()),
        name: format!("*.{id}.example"),
        destination: None,
        bytes_up: 1,
        bytes_down: 2,
        age_ms: 3,
        idle_ms: 4,
    };
    match ask {
        Ask::Connections { after, limit } => {
            let limit = usize::try_from(limit.unwrap()).unwrap();
            let rest: Vec<u64> =
                open.iter().copied().filter(|id| after.is_none_or(|after| *id > after)).collect();
            let page: Vec<_> = rest.iter().take(limit).map(row).collect();
            let next = page.last().filter(|_| rest.len() > limit).map(|row| row.id);
            Answer::Connections(ConnectionsPage { port, client: "tv".into(), connections: page, next })
        }
        Ask::Close { id } => {
            let before = open.len();
            open.retain(|known| *known != id);
            Answer::Closed { id, was_open: open.len() < before }
        }
        other => Answer::Error { detail: format!("{other:?} is not asked here") },
    }
}
