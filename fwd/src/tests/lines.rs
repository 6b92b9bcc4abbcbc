//! The log, read as an operator's tools would.

use std::io;
use std::sync::LazyLock;

use pgw_core::log::{JsonLines, LogLevels};
use tokio::sync::watch;
use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;

use super::fakes::{FakeProxy, echoes, origin};
use super::*;

/// The lines that this test's thread writes.
pub(crate) struct Lines {
    seen: watch::Receiver<Vec<String>>,
    _guard: DefaultGuard,
}

/// While there is one subscriber only, whoever meets a line first decides for all threads whether anybody
/// listens to it, also a thread that has none. With a second one all are asked.
static ANOTHER: LazyLock<Dispatch> =
    LazyLock::new(|| Dispatch::new(JsonLines::new(LogLevels::default(), io::sink)));

struct Writer(watch::Sender<Vec<String>>);

impl io::Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.send_modify(|lines| lines.push(String::from_utf8_lossy(line).into_owned()));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    pub(crate) fn capture() -> Self {
        let _another = LazyLock::force(&ANOTHER);
        let (sender, seen) = watch::channel(Vec::new());
        let lines = JsonLines::new(LogLevels::default(), move || Writer(sender.clone()));
        Self { seen, _guard: tracing::subscriber::set_default(lines) }
    }

    fn connections(lines: &[String]) -> Vec<Fields> {
        let fields = lines.iter().map(|line| serde_json::from_str::<Fields>(line).unwrap());
        fields.filter(|fields| fields["message"] == "connection").collect()
    }

    /// The first `count` connections' lines, as soon as they are there.
    pub(super) async fn wait(&mut self, count: usize) -> Vec<Fields> {
        let lines = self.seen.wait_for(|lines| Self::connections(lines).len() >= count).await.unwrap();
        Self::connections(&lines)
    }

    /// All lines, as soon as this text was in one of them so often.
    pub(crate) async fn wait_for(&mut self, text: &str, times: usize) -> String {
        let lines = self.seen.wait_for(|lines| lines.concat().matches(text).count() >= times).await;
        lines.unwrap().concat()
    }

    pub(crate) fn all(&self) -> String {
        self.seen.borrow().concat()
    }
}

/// One connection that names `mail.alice.example.co.uk`, under a log policy.
async fn logged(policy: pgw_core::redact::SniLog) -> (Fields, String) {
    let mut lines = Lines::capture();
    let proxy = FakeProxy::to(origin(echoes).await).await;
    let mut flag = flag(15001);
    flag.sni_log = policy;
    flag.upstreams = vec![upstream("de1", proxy.address)];
    flag.upstreams[0].upstream.credentials =
        Some(pgw_core::proxy::Credentials::new("bob", "hunter2").unwrap());
    let gateway = Gateway::start_with(flag, Dialer::new(), redirected(CLIENT));
    let mut client = gateway.connect().await;
    through::say(&mut client, b"GET /secret HTTP/1.1\r\nHost: mail.alice.example.co.uk\r\n\r\n").await;
    through::hang_up(client).await;
    let mut seen = lines.wait(1).await;
    assert_eq!(seen.len(), 1, "exactly one line");
    (seen.remove(0), lines.all())
}

#[tokio::test]
async fn one_line_tells_of_a_connection_and_hides_who_was_called() {
    let (line, all) = logged(pgw_core::redact::SniLog::Redacted).await;
    for (field, want) in [
        ("client", "tv"),
        ("upstream", "de1"),
        ("name", "*.example.co.uk"),
        ("end", "client"),
        ("level", "INFO"),
    ] {
        assert_eq!(line[field], want, "{field}");
    }
    assert_eq!(
        (&line["port"], &line["bytes_up"], &line["bytes_down"]),
        (&15001.into(), &56.into(), &56.into())
    );
    assert!(line.contains_key("ms") && line.contains_key("timestamp"));
    for hidden in ["alice", "mail", "198.51.100.7", "hunter2", "Basic", "/secret"] {
        assert!(!all.contains(hidden), "{hidden} in {all}");
    }
}

#[tokio::test]
async fn the_policy_decides_how_much_a_line_says() {
    let (off, all) = logged(pgw_core::redact::SniLog::Off).await;
    assert_eq!(off["name"], "-");
    assert!(!all.contains("example.co.uk"), "{all}");
    let (full, _all) = logged(pgw_core::redact::SniLog::Full).await;
    assert_eq!(full["name"], "mail.alice.example.co.uk");
    assert_eq!(full["dst"], "198.51.100.7:443");
}
