//! A machine at home: behind a router that translates addresses, with no way in. It belongs to tests
//! of tunnels, which lead to it all the same.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::process::Child;
use tokio::time::timeout;

use crate::gateway::log_path;
use crate::net::{GATEWAY_WAN, batch};
use crate::{command, gateway, netns};

pub const HOME: &str = "home";
/// One of the WAN's hosts is its router.
const ROUTER: &str = "dante";
pub const INSIDE: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 1);
const MACHINE: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 2);
const MOVED: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 9);
/// What lies over the machine's own.
const HOSTS: &str = "/run/lab/etc/hosts";
const STATE: &str = "/run/lab/home";
/// Where visitors are: not where devices want to go, which the lab watches the gateway for.
const ELSEWHERE: &str = "tls";
/// What the machine serves: whatever it hears, it says back.
pub const SERVED: u16 = 7000;
/// A visitor who has to wait longer for an answer gets none.
const ANSWER: Duration = Duration::from_secs(3);

/// Ends with its lab.
pub struct Home {
    client: Option<Child>,
}

impl Home {
    pub async fn build() -> Result<Self> {
        batch(
            ROUTER,
            &format!(
                "netns add {HOME}\nlink add home type veth peer name eth0 netns {HOME}\nlink set home up\n\
                 addr add {INSIDE}/24 dev home\n"
            ),
        )
        .await?;
        let lines = format!(
            "link set lo up\nlink set eth0 up\naddr add {MACHINE}/24 dev eth0\nroute add default via {INSIDE}\n"
        );
        batch(HOME, &lines).await?;
        netns::sysctl(ROUTER, "net/ipv4/ip_forward", "1")?;
        let rules = "table ip home {\n chain out {\n type nat hook postrouting priority srcnat;\n \
                     ip saddr 172.31.0.0/24 masquerade\n }\n}\n";
        command::ok_with(ROUTER, &["nft", "-f", "-"], rules).await?;
        fs::create_dir_all(STATE)?;
        serve()?;
        Ok(Self { client: None })
    }

    /// The client's program, with this token, and the ports that it asks for as it writes them.
    pub fn connect(&mut self, name: &str, token: &str, ports: &str) -> Result<()> {
        self.connect_with(name, token, &format!("open_ports: [{ports}]"))
    }

    /// With this line about the client in its configuration.
    pub fn connect_with(&mut self, name: &str, token: &str, line: &str) -> Result<()> {
        let path = format!("{STATE}/{name}.yaml");
        let authority = format!("{}/tunnel/ca.pem", gateway::STATE);
        let text = format!(
            "server: {GATEWAY_WAN}:8443\ntoken: \"{token}\"\nca: {authority}\nclient:\n  id: {name}\n  {line}\n"
        );
        fs::write(&path, text)?;
        let program = gateway::path("pgw-connect")?;
        let program = program.to_str().context("a path that is no text")?.to_owned();
        self.run(&[&program, "--config", &path])
    }

    /// Whatever becomes a client.
    pub fn run(&mut self, words: &[&str]) -> Result<()> {
        let log = fs::File::options().create(true).append(true).open(log_path("pgw-connect"))?;
        let mut command = command::program(HOME, words);
        command.env("HOME", STATE).stdout(log.try_clone()?).stderr(Stdio::from(log)).kill_on_drop(true);
        self.client = Some(command.spawn().with_context(|| words.join(" "))?);
        Ok(())
    }

    pub async fn kill(&mut self) -> Result<()> {
        self.client.take().context("no client runs")?.kill().await.context("the client cannot be killed")
    }

    pub fn is_connected_still(&mut self) -> Result<bool> {
        let client = self.client.as_mut().context("no client was started")?;
        Ok(client.try_wait()?.is_none())
    }

    /// Nothing comes through any more, and nobody is told.
    pub async fn pull_cable(&self) -> Result<()> {
        let rules =
            "table ip pulled {\n chain cut {\n type filter hook forward priority -10;\n drop\n }\n}\n";
        command::ok_with(ROUTER, &["nft", "-f", "-"], rules).await.map(drop)
    }

    /// Another lease, while connections stand: what is on its way belongs to nobody any more.
    pub async fn change_address(&self) -> Result<()> {
        let lines =
            format!("addr flush dev eth0\naddr add {MOVED}/24 dev eth0\nroute add default via {INSIDE}\n");
        batch(HOME, &lines).await
    }

    pub async fn plug_in(&self) -> Result<()> {
        command::ok(ROUTER, &["nft", "delete", "table", "ip", "pulled"]).await.map(drop)
    }
}

/// What a name means from now on, to every machine of the lab.
pub fn name_means(name: &str, address: Ipv4Addr) -> Result<()> {
    let text = fs::read_to_string(HOSTS)?;
    let others = text.lines().filter(|line| !line.ends_with(&format!(" {name}")));
    let lines: Vec<&str> = others.collect();
    Ok(fs::write(HOSTS, format!("{}\n{address} {name}\n", lines.join("\n")))?)
}

/// A server of the router, which nobody is to reach.
pub fn trap() -> Result<std::net::TcpListener> {
    let listener = netns::inside(ROUTER, || Ok(std::net::TcpListener::bind((INSIDE, SERVED))?))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn serve() -> Result<()> {
    let socket = netns::inside(HOME, || Ok(std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, SERVED))?))?;
    socket.set_nonblocking(true)?;
    let socket = UdpSocket::from_std(socket)?;
    tokio::spawn(async move {
        let mut heard = vec![0; 65_535];
        while let Ok((length, from)) = socket.recv_from(&mut heard).await {
            let said = heard.get(..length).unwrap_or_default();
            let _lost_as_datagrams_are = socket.send_to(said, from).await;
        }
    });
    let listener = netns::inside(HOME, || Ok(std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, SERVED))?))?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    Ok(())
}

/// Somebody on the internet who comes to a public port of the gateway.
pub async fn visitor(port: u16) -> Result<TcpStream> {
    let socket = netns::inside(ELSEWHERE, || Ok(TcpSocket::new_v4()?))?;
    let to: SocketAddr = (GATEWAY_WAN, port).into();
    Ok(timeout(ANSWER, socket.connect(to)).await.context("nobody answered")??)
}

/// What he says comes back from the machine at home.
pub async fn is_answered(port: u16) -> Result<()> {
    let mut stream = visitor(port).await?;
    say(&mut stream).await
}

pub async fn say(stream: &mut TcpStream) -> Result<()> {
    let mut heard = [0; 5];
    stream.write_all(b"hello").await?;
    timeout(ANSWER, stream.read_exact(&mut heard)).await.context("no answer through the tunnel")??;
    ensure!(&heard == b"hello", "{heard:?}");
    Ok(())
}

/// The same with one datagram of this length, which comes back whole or not at all.
pub async fn is_echoed(port: u16, length: usize) -> Result<()> {
    let socket = netns::inside(ELSEWHERE, || Ok(std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?))?;
    socket.set_nonblocking(true)?;
    let socket = UdpSocket::from_std(socket)?;
    socket.connect((GATEWAY_WAN, port)).await?;
    let said: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap_or_default()).collect();
    let mut heard = vec![0; 65_535];
    socket.send(&said).await?;
    let heard_bytes = timeout(ANSWER, socket.recv(&mut heard)).await.context("no datagram came back")??;
    ensure!(heard.get(..heard_bytes) == Some(said.as_slice()), "{heard_bytes} of {length} bytes came back");
    Ok(())
}
