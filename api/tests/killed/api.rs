//! The real program, on loopback, with nobody else: no agent answers, and its upstreams are down.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use pgw_core::settings::DatabaseUrl;
use reqwest::{Client, Method};
use serde_json::Value;
use tokio::process::{Child, Command};

const TOKEN: &str = "a-token-that-nobody-guesses";
const START: Duration = Duration::from_secs(60);

pub(crate) struct Api {
    child: Child,
    base: String,
    http: Client,
}

#[derive(Clone)]
pub(crate) struct Operator {
    base: String,
    http: Client,
}

impl Api {
    #[expect(clippy::disallowed_methods, reason = "the program itself is what is tried")]
    pub(crate) async fn start(dir: &Path, url: &DatabaseUrl) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let url = match url {
            DatabaseUrl::Sqlite(path) => format!("sqlite://{}", path.display()),
            DatabaseUrl::Postgres(url) => url.expose().to_owned(),
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgw-api"));
        command.env_clear().envs([
            ("PGW_STATE_DIR", dir.to_str().unwrap()),
            ("PGW_RUN_DIR", dir.to_str().unwrap()),
            ("PGW_API_LISTEN", &free.to_string()),
            ("PGW_AGENT_URL", "http://127.0.0.1:9"),
            ("PGW_DATABASE_URL", &url),
            ("PGW_GATEWAY", "gw1"),
            ("PGW_UNITS", "spawn"),
            ("PGW_LOG", "error"),
            ("PGW_ADMIN_TOKEN", TOKEN),
        ]);
        let child = command.stdin(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        let http = Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
        let mut api = Self { child, base: format!("http://{free}"), http };
        tokio::time::timeout(START, api.answers()).await.unwrap();
        let environ = std::fs::read(format!("/proc/{}/environ", api.child.id().unwrap())).unwrap();
        let one_heap = environ.split(|byte| *byte == 0).any(|entry| entry == b"MALLOC_ARENA_MAX=1");
        assert!(one_heap, "its threads have heaps of their own");
        api
    }

    async fn answers(&mut self) {
        loop {
            assert_eq!(self.child.try_wait().unwrap(), None, "it ended at its start");
            let asked = self.http.get(format!("{}/healthz", self.base)).send().await;
            if asked.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn operator(&self) -> Operator {
        Operator { base: self.base.clone(), http: self.http.clone() }
    }

    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }
}

impl Operator {
    /// None: nobody answered, or not to the end.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Option<(u16, Value)> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        request = request.bearer_auth(TOKEN);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        let text = answer.text().await.ok()?;
        Some((status, serde_json::from_str(&text).unwrap_or_default()))
    }
}
