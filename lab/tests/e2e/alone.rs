//! A forwarder by itself: one rule leads the device to it, and its upstream is the test. What
//! happens to it happens without the API's help.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use pgw_lab::gateway::{self, LOGS, RUN, STATE, flag_file};
use pgw_lab::lab::eventually;
use pgw_lab::net::{C1, GATEWAY, GREETER};
use pgw_lab::upstream::Kind;
use pgw_lab::{command, netns};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};
use tokio::process::Child;

const PORT: u16 = 15001;
/// Where the device means to go.
pub(crate) const DESTINATION: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(GREETER), 443);

pub(crate) struct Alone {
    pub(crate) pid: u32,
    _child: Child,
}

impl Alone {
    pub(crate) async fn start(limits: Value) -> Result<Self> {
        for folder in [STATE, &format!("{STATE}/ports"), RUN, LOGS] {
            fs::create_dir_all(folder)?;
        }
        echoing_upstream()?;
        let rule = format!(
            "table ip alone {{ chain pre {{ type nat hook prerouting priority dstnat;\n ip saddr {} tcp dport 443 redirect to :{PORT}\n }}\n}}",
            C1.ip
        );
        command::ok_with(GATEWAY, &["nft", "-f", "-"], &rule).await?;
        fs::write(flag_file(PORT), flag(limits).to_string())?;
        let program = gateway::path("pgw-fwd")?;
        let words = [program.to_str().context("a path")?, "--port", &PORT.to_string()];
        let log = fs::File::create(gateway::log_path("pgw-fwd"))?;
        let mut starting = command::program(GATEWAY, &words);
        starting.env_clear().env("PATH", "/usr/bin:/bin").env("PGW_STATE_DIR", STATE).env("PGW_RUN_DIR", RUN);
        let child = starting.stderr(Stdio::from(log)).kill_on_drop(true).spawn()?;
        let alone = Self { pid: child.id().context("it has ended already")?, _child: child };
        eventually("the forwarder answers", async || Ok(alone.ask(json!({"ask": "status"})).await.ok()))
            .await?;
        Ok(alone)
    }

    pub(crate) async fn ask(&self, question: Value) -> Result<Value> {
        let mut stream = BufReader::new(UnixStream::connect(format!("{RUN}/fwd/{PORT}.sock")).await?);
        stream.write_all(format!("{question}\n").as_bytes()).await?;
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let answer: Value = serde_json::from_str(&line)?;
        ensure!(answer.get("answer").is_some_and(|kind| kind != "error"), "{question}: {answer}");
        Ok(answer)
    }

    pub(crate) async fn open(&self) -> Result<u64> {
        let status = self.ask(json!({"ask": "status"})).await?;
        status.get("connections").and_then(Value::as_u64).context("a number")
    }

    pub(crate) fn has_ended(&self) -> Result<bool> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        Ok(text.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('Z')))
    }

    pub(crate) fn log(&self) -> Result<Vec<String>> {
        Ok(fs::read_to_string(gateway::log_path("pgw-fwd"))?.lines().map(str::to_owned).collect())
    }

    pub(crate) fn files(&self) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.pid))?.count())
    }

    /// How many files it may have open from now on.
    pub(crate) fn limit_files(&self, most: u64) -> Result<()> {
        let pid = Pid::from_raw(self.pid.cast_signed()).context("no process has this id")?;
        let hard = rustix::process::getrlimit(Resource::Nofile).maximum;
        prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(most), maximum: hard })?;
        Ok(())
    }

    /// Memory of its own, in KiB, without what is the kernel's or a file's.
    pub(crate) fn memory(&self) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid))?;
        let anonymous =
            text.lines().find_map(|line| line.strip_prefix("Pss_Anon:")).context("no Pss_Anon")?;
        anonymous.trim().trim_end_matches(" kB").parse().context("a number of kB")
    }

    /// Ticks of processor time that it has used.
    pub(crate) fn ticks(&self) -> Result<u64> {
        let text = fs::read_to_string(Path::new("/proc").join(self.pid.to_string()).join("stat"))?;
        let fields = text.rsplit_once(") ").context("no name in it")?.1;
        fields.split(' ').skip(11).take(2).map(|ticks| Ok(ticks.parse::<u64>()?)).sum()
    }
}

fn flag(limits: Value) -> Value {
    let id = "0192f0c1-2d3e-7f4a-8b5c-6d7e8f901234";
    json!({
        "version": 1, "revision": id, "port": PORT, "limits": limits,
        "client": {"id": id, "name": C1.name, "ip_cidr": format!("{}/32", C1.ip)},
        "upstreams": [{"mapping_id": id, "target": "original", "upstream": {
            "name": "test", "scheme": "http", "host": Kind::Squid.ip().to_string(), "port": Kind::Squid.port(),
        }}],
    })
}

/// Grants every tunnel, and is its far end: it sends back what it hears.
fn echoing_upstream() -> Result<()> {
    let at = (Kind::Squid.ip(), Kind::Squid.port());
    let socket = netns::inside(Kind::Squid.name(), || {
        let socket = TcpSocket::new_v4()?;
        socket.bind(at.into())?;
        Ok(socket)
    })?;
    let listener = socket.listen(4096)?;
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            tokio::spawn(echo(stream));
        }
    });
    Ok(())
}

async fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    let (mut read, mut write) = stream.split();
    tokio::io::copy(&mut read, &mut write).await?;
    Ok(())
}

/// Sockets of the device, not connected yet.
pub(crate) fn sockets(count: usize) -> Result<Vec<TcpSocket>> {
    netns::inside(C1.name, || Ok((0..count).map(|_| TcpSocket::new_v4()).collect::<Result<_, _>>()?))
}

/// A connection that stands: its upstream has sent something back.
pub(crate) async fn connected(socket: TcpSocket) -> Result<TcpStream> {
    let mut stream = socket.connect(DESTINATION).await?;
    talk(&mut stream).await?;
    Ok(stream)
}

pub(crate) async fn talk(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(b"ping").await?;
    let mut heard = [0; 4];
    stream.read_exact(&mut heard).await?;
    ensure!(heard == *b"ping", "{heard:?}");
    Ok(())
}

/// What a successor would have to bind.
pub(crate) fn bind_its_port() -> Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(([0, 0, 0, 0], PORT).into())?;
    socket.listen(1).context("its port")
}
