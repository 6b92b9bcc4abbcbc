//! The program as somebody sees it: on a terminal, which `script` (Debian package bsdutils) plays.
#![expect(clippy::unwrap_used, reason = "a failed helper fails its test")]
#![expect(clippy::disallowed_methods, reason = "the program itself is tried here")]

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);
const ROWS: usize = 12;
const DEVICES: usize = 30;
const CTRL_C: &[u8] = b"\x03";
const HOME: &str = "\u{1b}[H\u{1b}[J";

struct Terminal {
    program: Child,
    keys: ChildStdin,
    screen: ChildStdout,
    /// All that came until now.
    seen: String,
}

impl Terminal {
    fn run(line: &str) -> Self {
        let pgw = env!("CARGO_BIN_EXE_pgw");
        let line = format!("stty rows {ROWS} cols 80 && exec {pgw} {line}");
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        script.env("TERM", "xterm").env("PGW_TOKEN", "t0ken").env_remove("NO_COLOR");
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut program = script.spawn().unwrap();
        let (keys, screen) = (program.stdin.take().unwrap(), program.stdout.take().unwrap());
        Self { program, keys, screen, seen: String::new() }
    }

    async fn shows(&mut self, words: &str, times: usize) {
        let mut bytes = [0; 4096];
        while self.seen.matches(words).count() < times {
            let read = timeout(PATIENCE, self.screen.read(&mut bytes)).await;
            assert!(read.is_ok(), "no {words:?} in {:?}", self.seen);
            let count = read.unwrap().unwrap();
            assert_ne!(count, 0, "it ended without {words:?}: {:?}", self.seen);
            self.seen.push_str(&String::from_utf8_lossy(bytes.get(..count).unwrap_or_default()));
        }
    }

    /// What it wrote until its end, and how it ended.
    async fn end(mut self) -> (String, Option<i32>) {
        let mut rest = Vec::new();
        timeout(PATIENCE, self.screen.read_to_end(&mut rest)).await.unwrap().unwrap();
        let status = timeout(PATIENCE, self.program.wait()).await.unwrap().unwrap();
        (self.seen + &String::from_utf8_lossy(&rest), status.code())
    }
}

/// Answers until it is told to be unwell.
async fn gateway(is_well: Arc<AtomicBool>) -> String {
    let id = |number: usize| format!("c-{number:02}");
    let clients: Vec<Value> = (0..DEVICES)
        .map(|n| json!({"id": id(n), "name": format!("tv{n:02}"), "ip_cidr": format!("10.0.0.{n}/32")}))
        .collect();
    let moving: Vec<Value> = (0..DEVICES)
        .map(|n| json!({"client_id": id(n), "down_bps": n * 1024, "up_bps": 0, "connections": 1}))
        .collect();
    let now = json!({"down_bps": 2048, "up_bps": 0, "connections": DEVICES, "clients": moving});
    let answer = move || {
        let well = is_well.load(Ordering::Relaxed);
        let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        std::future::ready((status, Json(now.clone())))
    };
    let list = json!({"items": clients, "next_cursor": null});
    let router = Router::new()
        .route("/v1/clients", get(move || std::future::ready(Json(list.clone()))))
        .route("/v1/telemetry/now", get(answer));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tokio::test]
async fn top_fits_its_window_outlasts_a_gateway_that_is_away_and_ends_well_with_ctrl_c() {
    let is_well = Arc::new(AtomicBool::new(true));
    let url = gateway(is_well.clone()).await;
    let mut terminal = Terminal::run(&format!("--url {url} top --interval 500ms"));
    terminal.shows("and 24 more", 1).await;
    is_well.store(false, Ordering::Relaxed);
    terminal.shows("it is tried again", 1).await;
    is_well.store(true, Ordering::Relaxed);
    let pages = terminal.seen.matches(HOME).count();
    terminal.shows(HOME, pages + 2).await;
    terminal.keys.write_all(CTRL_C).await.unwrap();
    let (seen, code) = terminal.end().await;
    assert_eq!(code, Some(0), "{seen:?}");
    // A page of its own, and the one that was before is there again.
    assert_eq!(
        (seen.matches("\u{1b}[?1049h").count(), seen.matches("\u{1b}[?1049l").count()),
        (1, 1),
        "{seen:?}"
    );
    assert!(
        seen.find("\u{1b}[?1049h") < seen.find(HOME) && seen.rfind(HOME) < seen.find("\u{1b}[?1049l"),
        "{seen:?}"
    );
    for page in seen.split(HOME).skip(1) {
        assert!(page.lines().count() <= ROWS, "{page:?}");
    }
    let first = seen.split(HOME).nth(1).unwrap();
    assert!(first.contains("tv29") && !first.contains("tv20"), "the busiest first: {first:?}");
}

#[tokio::test]
async fn one_page_is_enough_where_it_is_asked_for() {
    let url = gateway(Arc::new(AtomicBool::new(true))).await;
    let (seen, code) = Terminal::run(&format!("--url {url} top --once")).end().await;
    assert_eq!(code, Some(0), "{seen:?}");
    assert!(seen.contains("tv00") && !seen.contains(HOME), "{seen:?}");
}
