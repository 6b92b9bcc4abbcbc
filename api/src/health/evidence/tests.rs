//! Followed forwarders, played by the test on their sockets.

use std::path::Path;

use pgw_core::control::{Answer, Trouble, socket_path};
use pgw_core::health::{CheckFailure, Thresholds};
use pgw_core::ids::MappingId;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::*;
use crate::health::probe::{Answered, NotAnswered, Probe};
use crate::health::scheduler::Scheduler;
use crate::store::open::Opening;
use crate::store::sqlite::SqliteStore;

const PORT: u16 = 15001;

fn seen(mapping: u128, [failed, unclear]: [u64; 2]) -> Seen {
    let (kind, words) = (CheckFailure::Refused, "connection refused".to_owned());
    let trouble = Some(Trouble { kind, words, ago_ms: 3 });
    Seen { mapping_id: MappingId(Uuid::from_u128(mapping)), ok: 7, failed, unclear, trouble }
}

#[test]
fn only_what_grew_between_two_lines_is_news() {
    use Blame::{Unclear, Upstream};
    for (name, before, now, want) in [
        ("nothing happened", vec![seen(1, [3, 4])], vec![seen(1, [3, 4])], vec![]),
        ("a fault", vec![seen(1, [3, 4])], vec![seen(1, [4, 4])], vec![Upstream]),
        ("a doubt", vec![seen(1, [3, 4])], vec![seen(1, [3, 9])], vec![Unclear]),
        ("a fault weighs more than doubts", vec![seen(1, [3, 4])], vec![seen(1, [4, 9])], vec![Upstream]),
        ("an upstream that is new", vec![], vec![seen(1, [1, 0])], vec![Upstream]),
        ("an upstream that is new and fine", vec![], vec![seen(1, [0, 0])], vec![]),
        ("counted anew, with a fault", vec![seen(1, [3, 4])], vec![seen(1, [1, 0])], vec![Upstream]),
        ("counted anew, and fine", vec![seen(1, [3, 4])], vec![seen(1, [0, 0])], vec![]),
        (
            "each upstream by itself",
            vec![seen(1, [1, 0]), seen(2, [0, 1])],
            vec![seen(2, [0, 2]), seen(1, [1, 0])],
            vec![Unclear],
        ),
    ] {
        let found: Vec<Blame> = news(&before, &now).into_iter().map(|(_, blame)| blame).collect();
        assert_eq!(found, want, "{name}");
    }
}

struct Unasked;

#[async_trait::async_trait]
impl Probe for Unasked {
    async fn check(&self, _: &pgw_core::proxy::Upstream) -> Result<Answered, NotAnswered> {
        std::future::pending().await
    }
}

/// Evidence under way, with one forwarder that is said to be ready.
async fn following(dir: &Path) -> (Arc<Board>, mpsc::UnboundedReceiver<u16>) {
    let opening = Opening::new("gw1", &dir.join("secret.key"));
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&dir.join("pgw.db"), &opening).await.unwrap());
    let board = Arc::new(Board::new(Duration::from_secs(1)));
    let (checks, _scheduler) = Scheduler::new(
        store.clone(),
        board.clone(),
        Box::new(|_proxy| ()),
        Box::new(|_proxy, _health| ()),
        Arc::new(Unasked),
        Duration::from_secs(1),
        Thresholds { degraded_ms: 1, failures: 3 },
    );
    let (told, hung_up) = mpsc::unbounded_channel();
    let evidence = Evidence { store, board: board.clone(), checks, run_dir: dir.to_owned(), told };
    tokio::spawn(evidence.run(CancellationToken::new()));
    (board, hung_up)
}

async fn taken(listener: &UnixListener) -> BufReader<UnixStream> {
    let mut stream = BufReader::new(listener.accept().await.unwrap().0);
    let mut ask = String::new();
    stream.read_line(&mut ask).await.unwrap();
    assert_eq!(ask, "{\"ask\":\"follow\"}\n");
    let mut line = serde_json::to_vec(&Answer::Seen { upstreams: vec![seen(1, [1, 1])] }).unwrap();
    line.push(b'\n');
    stream.write_all(&line).await.unwrap();
    stream
}

#[tokio::test]
async fn a_forwarder_is_followed_while_it_is_ready_and_its_hanging_up_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("fwd")).unwrap();
    let listener = UnixListener::bind(socket_path(dir.path(), PORT)).unwrap();
    let (board, mut hung_up) = following(dir.path()).await;

    board.forwarder_ready(PORT, BTreeSet::new());
    drop(taken(&listener).await);
    assert_eq!(hung_up.recv().await, Some(PORT));
    let mut again = taken(&listener).await;
    board.forwarder_gone(PORT);
    let more = again.read_line(&mut String::new()).await;
    assert_eq!(more.unwrap_or_default(), 0, "who is gone is not followed");
    assert!(hung_up.is_empty(), "nor is that told");
    board.forwarder_ready(PORT, BTreeSet::new());
    taken(&listener).await;
}

#[tokio::test]
async fn a_forwarder_that_is_not_there_is_told_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let (board, mut hung_up) = following(dir.path()).await;
    board.forwarder_ready(PORT, BTreeSet::new());
    assert_eq!(hung_up.recv().await, Some(PORT));
}
