//! A stand-in for pgw-fwd: this test program, run again, as a process that can be told to
//! misbehave by files in its run directory.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pgw_core::control::{Answer, FwdStatus, socket_path};
use rustix::fs::{FlockOperation, flock};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use uuid::Uuid;

use crate::units::spawn::Program;

/// One that its test forgot goes by itself.
const LIFETIME: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(2);

/// A file that says how the stand-in behaves, or in which it says what it did.
pub(super) fn note(run_dir: &Path, port: u16, what: &str) -> PathBuf {
    run_dir.join(format!("{port}.{what}"))
}

pub(super) fn program() -> Program {
    let arguments = ["--exact", "--nocapture", concat!(module_path!(), "::the_stand_in"), "--"];
    let without_crate = |argument: &&str| argument.trim_start_matches("pgw_api::").to_owned();
    let leading = arguments.iter().map(without_crate).map(OsString::from).collect();
    Program { path: std::env::current_exe().unwrap().canonicalize().unwrap(), leading }
}

/// Behind `--` a test program takes everything for names of tests, so `--port` may stand there.
/// In an ordinary run there is none, and this is nobody's stand-in.
#[tokio::test]
async fn the_stand_in() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--port");
    let Some(port) = arguments.nth(1) else { return };
    let run_dir = PathBuf::from(std::env::var_os("PGW_RUN_DIR").unwrap());
    StandIn { port: port.parse().unwrap(), run_dir }.run().await;
}

struct StandIn {
    port: u16,
    run_dir: PathBuf,
}

impl StandIn {
    fn note(&self, what: &str) -> PathBuf {
        note(&self.run_dir, self.port, what)
    }

    fn write(&self, what: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.note(what)).unwrap();
        file.write_all(format!("{}\n", std::process::id()).as_bytes()).unwrap();
    }

    async fn run(self) {
        let mut term = signal(SignalKind::terminate()).unwrap();
        let names: Vec<String> = std::env::vars().map(|(name, _)| name).collect();
        fs::write(self.note("environment"), names.join("\n")).unwrap();
        if fs::remove_file(self.note("refuse")).is_ok() {
            exit(78);
        }
        // As the port, it cannot be held twice.
        let lock = File::create(self.note("lock")).unwrap();
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            exit(1);
        }
        self.write("pids");
        if self.note("mute").exists() {
            tokio::time::sleep(LIFETIME).await;
        }
        let path = socket_path(&self.run_dir, self.port);
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let version = fs::read_to_string(self.note("version"));
        let version = version.unwrap_or_else(|_none| env!("CARGO_PKG_VERSION").into());
        let (drain, draining) = watch::channel(false);
        let served = async {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(answer(stream, self.port, version.clone(), draining.clone()));
            }
        };
        let lived = async {
            term.recv().await;
            drain.send_replace(true);
            while self.note("slow").exists() {
                tokio::select! {
                    _ = term.recv() => return self.write("cut"),
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
        };
        tokio::select! {
            () = served => {}
            () = lived => {}
            () = tokio::time::sleep(LIFETIME) => {}
        }
        fs::remove_file(&path).unwrap();
    }
}

#[expect(clippy::exit, reason = "a process that fails is what it stands in for")]
fn exit(code: i32) -> ! {
    std::process::exit(code)
}

async fn answer(stream: UnixStream, port: u16, version: String, draining: watch::Receiver<bool>) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    while let Ok(Some(_ask)) = lines.next_line().await {
        let status = FwdStatus {
            version: version.clone(),
            pid: std::process::id(),
            port,
            revision: Uuid::nil(),
            draining: *draining.borrow(),
            ..FwdStatus::default()
        };
        let mut line = serde_json::to_vec(&Answer::Status(status)).unwrap();
        line.push(b'\n');
        // Whoever asked may have gone.
        if write.write_all(&line).await.is_err() {
            return;
        }
    }
}
