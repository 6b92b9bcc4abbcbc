//! The programs as they are installed: settings from the environment, a file, a kill.
#![expect(clippy::unwrap_used, reason = "a failed helper fails its test")]
#![expect(clippy::disallowed_methods, reason = "the programs themselves are tried here")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pgw_core::ids::TunnelClientId;
use pgw_core::redact::Secret;
use pgw_core::tunnel::{Answer, Ask, ClientSpec, Desired, State, Status, socket_path};
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(60);

/// Killed with its test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _dead_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A range that no other test uses, below the kernel's own.
fn range() -> u16 {
    30_500 + u16::try_from(std::process::id() % 150).unwrap() * 10
}

fn tunneld(dir: &Path, port: u16, base: u16) -> Program {
    tunneld_by(Command::new(env!("CARGO_BIN_EXE_pgw-tunneld")), dir, port, base)
}

fn tunneld_by(mut command: Command, dir: &Path, port: u16, base: u16) -> Program {
    command
        .env("PGW_STATE_DIR", dir)
        .env("PGW_RUN_DIR", dir)
        .env("PGW_TUNNEL_LISTEN", format!("127.0.0.1:{port}"))
        .env("PGW_TUNNEL_HEALTH_LISTEN", "127.0.0.1:0")
        .env("PGW_TUNNEL_BASE_PORT", base.to_string())
        .env("PGW_TUNNEL_MAX_PORT", (base + 9).to_string())
        .stderr(Stdio::null());
    Program(command.spawn().unwrap())
}

/// Asks until somebody answers, and the answer fits.
fn ask<T>(dir: &Path, question: &Ask, fits: impl Fn(Answer) -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        let answered = UnixStream::connect(socket_path(dir)).and_then(|mut stream| {
            writeln!(stream, "{}", serde_json::to_string(question)?)?;
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line)?;
            Ok(serde_json::from_str(&line)?)
        });
        if let Some(fitting) = answered.ok().and_then(&fits) {
            return fitting;
        }
        assert!(Instant::now() < until, "no answer that fits");
        std::thread::yield_now();
    }
}

fn active_port(dir: &Path) -> u16 {
    ask(dir, &Ask::Status, |answer| match answer {
        Answer::Status(Status { tunnels, .. }) => {
            tunnels.into_iter().find(|tunnel| tunnel.state == State::Active)?.public_port
        }
        _ => None,
    })
}

#[test]
fn a_gateway_killed_at_any_moment_has_its_tunnels_back_and_the_client_was_never_touched() {
    let dir = tempfile::tempdir().unwrap();
    let (port, base) = (free_port(), range());
    let gateway = tunneld(dir.path(), port, base);
    let token = Secret::new("5".repeat(64));
    let desired = Desired {
        clients: vec![ClientSpec {
            id: TunnelClientId(Uuid::now_v7()),
            name: "pi".to_owned(),
            enabled: true,
            token: pgw_tunnel::secret::hash(&token),
            allowed_ports: Vec::new(),
            max_tunnels: 2,
            max_connections: 100,
            bandwidth: None,
        }],
        ..Desired::nothing()
    };
    let pin = ask(dir.path(), &Ask::Status, |answer| match answer {
        Answer::Status(status) => Some(status.ca_pin),
        _ => None,
    });
    ask(dir.path(), &Ask::Apply { desired }, |answer| matches!(answer, Answer::Applied { .. }).then_some(()));
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = target.local_addr().unwrap();
    let config = dir.path().join("pi.yaml");
    let text = format!(
        "server: 127.0.0.1:{port}\ntoken: \"{}\"\nca: {pin}\nclient:\n  id: pi\n  open_ports:\n    - {{ remote_port: 0, protocol: tcp, local_host: 127.0.0.1, local_port: {} }}\n",
        token.expose(),
        to.port()
    );
    std::fs::write(&config, text).unwrap();
    let mut client = Command::new(env!("CARGO_BIN_EXE_pgw-connect"));
    let client = client.arg("--config").arg(&config).stderr(Stdio::null()).spawn().unwrap();
    let mut client = Program(client);
    let public = active_port(dir.path());
    say_and_hear(public, &target);
    // SIGKILL, which nobody can prepare for.
    drop(gateway);
    let _gateway = tunneld(dir.path(), port, base);
    assert_eq!(active_port(dir.path()), public, "the lowest that is free is the same one");
    say_and_hear(public, &target);
    assert!(client.0.try_wait().unwrap().is_none(), "the client runs on");
}

/// G39.
#[test]
fn visitors_who_speak_another_protocol_are_visitors_still() {
    const FILES: usize = 400;
    let dir = tempfile::tempdir().unwrap();
    let (port, base) = (free_port(), range());
    let mut few_files = Command::new("sh");
    let run = format!("ulimit -n {FILES} && exec {}", env!("CARGO_BIN_EXE_pgw-tunneld"));
    few_files.arg("-c").arg(run);
    let _gateway = tunneld_by(few_files, dir.path(), port, base);
    let token = Secret::new("5".repeat(64));
    let id = TunnelClientId(Uuid::now_v7());
    let to = websockets().port();
    let desired = serde_json::json!({
        "version": 1, "revision": Uuid::now_v7(),
        "clients": [{"id": id, "name": "pi", "enabled": true, "token": pgw_tunnel::secret::hash(&token),
            "max_tunnels": 2, "max_connections": 10 * FILES}],
        "tunnels": [{"id": Uuid::now_v7(), "name": "chat", "client_id": id, "protocol": "http",
            "route": {"host": "chat.example.com"}, "target": {"host": "127.0.0.1", "port": to}}],
    });
    let desired: Desired = serde_json::from_value(desired).unwrap();
    let pin = ask(dir.path(), &Ask::Status, |answer| match answer {
        Answer::Status(status) => Some(status.ca_pin),
        _ => None,
    });
    ask(dir.path(), &Ask::Apply { desired }, |answer| matches!(answer, Answer::Applied { .. }).then_some(()));
    let config = dir.path().join("pi.yaml");
    let text =
        format!("server: 127.0.0.1:{port}\ntoken: \"{}\"\nca: {pin}\nclient: {{id: pi}}\n", token.expose());
    std::fs::write(&config, text).unwrap();
    let mut client = Command::new(env!("CARGO_BIN_EXE_pgw-connect"));
    let _client = Program(client.arg("--config").arg(&config).stderr(Stdio::null()).spawn().unwrap());
    ask(dir.path(), &Ask::Status, |answer| match answer {
        Answer::Status(Status { tunnels, .. }) => tunnels.iter().find(|t| t.state == State::Active).map(drop),
        _ => None,
    });
    // A little more than may, and less than there are files for.
    let visitors: Vec<_> = (0..FILES / 2 + 30).filter_map(|_| chats(port)).collect();
    assert!(visitors.len() <= FILES / 2, "{} of {}", visitors.len(), FILES / 2);
    assert!(visitors.len() > FILES / 3, "{} came in", visitors.len());
}

/// Agrees to everything and keeps it open.
fn websockets() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = BufReader::new(stream.try_clone().unwrap()).lines();
            while head.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let yes = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
            stream.write_all(yes.as_bytes()).unwrap();
            kept.push(stream);
        }
    });
    address
}

/// None: it was not let in.
fn chats(port: u16) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let ask = "GET / HTTP/1.1\r\nhost: chat.example.com\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    stream.write_all(ask.as_bytes()).ok()?;
    let mut status = String::new();
    BufReader::new(&stream).read_line(&mut status).ok()?;
    status.starts_with("HTTP/1.1 101").then_some(stream)
}

fn say_and_hear(public: u16, target: &TcpListener) {
    let mut visitor = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], public))).unwrap();
    visitor.write_all(b"hello\n").unwrap();
    let (server, _) = target.accept().unwrap();
    let mut line = String::new();
    BufReader::new(server).read_line(&mut line).unwrap();
    assert_eq!(line, "hello\n");
}

#[test]
fn who_asks_for_help_or_the_version_is_told() {
    for (argument, words) in
        [("--version", env!("CARGO_PKG_VERSION")), ("-V", "pgw-connect"), ("--help", "--server")]
    {
        let said = Command::new(env!("CARGO_BIN_EXE_pgw-connect")).arg(argument).output().unwrap();
        let text = String::from_utf8_lossy(&said.stdout);
        assert!(said.status.success() && text.contains(words), "{argument}: {said:?}");
    }
}

#[test]
fn a_mistake_in_a_setting_or_a_file_stops_the_start_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = Command::new(env!("CARGO_BIN_EXE_pgw-tunneld"));
    let said = gateway.env("PGW_TUNNEL_LISTEN", "everywhere").output().unwrap();
    assert_eq!(said.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&said.stderr).contains("PGW_TUNNEL_LISTEN=\"everywhere\""));
    let config = dir.path().join("pi.yaml");
    std::fs::write(&config, "server: gw\nca: sha256:x\nclient: {id: pi, opn_ports: []}\n").unwrap();
    let said = Command::new(env!("CARGO_BIN_EXE_pgw-connect")).arg("--config").arg(&config).output().unwrap();
    assert_eq!(said.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&said.stderr).contains("opn_ports"));
}
