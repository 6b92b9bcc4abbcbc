//! Every way out of a device that pgw must close: tried, with the answer if one came.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::future::join_all;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

use crate::net::{GATEWAY_LAN, ORIGIN, ORIGIN6, wan};
use crate::netns;

/// How long to listen for an answer that must not come. One that comes takes a millisecond.
pub const PATIENCE: Duration = Duration::from_millis(250);
/// How long to wait for an answer that must come.
pub const LONG: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    pub name: String,
    how: How,
    to: SocketAddr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Tcp,
    Udp,
    Ping,
}

impl Way {
    pub fn is_v6(&self) -> bool {
        self.to.is_ipv6()
    }
}

/// All of them lead past the gateway; none of them is tcp to port 80 or 443 by IPv4, which are
/// the two that a mapping opens.
pub fn ways_out() -> Vec<Way> {
    let way = |how, ip: IpAddr, port| {
        let version = if ip.is_ipv4() { "" } else { "6" };
        let kind = match how {
            How::Tcp => "tcp",
            How::Udp => "udp",
            How::Ping => "ping",
        };
        let name = format!("{kind}{version} {}", SocketAddr::from((ip, port)));
        Way { name, how, to: (ip, port).into() }
    };
    let (v4, v6) = (IpAddr::from(ORIGIN), IpAddr::from(ORIGIN6));
    let elsewhere = IpAddr::from([198, 51, 100, 1]);
    let tcp = [(v4, 22), (v4, 853), (v4, 8443), (elsewhere, 8080), (v6, 80), (v6, 443), (v6, 22)];
    let udp = [(v4, 53), (v4, 443), (v4, 9999), (elsewhere, 53), (elsewhere, 443), (v6, 53), (v6, 443)];
    let ping = [(v4, 0), (v6, 0)];
    let tcp = tcp.map(|(ip, port)| way(How::Tcp, ip, port));
    let udp = udp.map(|(ip, port)| way(How::Udp, ip, port));
    let ping = ping.map(|(ip, port)| way(How::Ping, ip, port));
    tcp.into_iter().chain(udp).chain(ping).collect()
}

/// Straight to the upstreams, which would take the device's own word for who it is.
pub fn ways_to_upstreams() -> Vec<Way> {
    let ports = [(21, 3128), (22, 1080), (23, 8443), (24, 1080)];
    ports.map(|(host, port)| tcp_way(wan(host), port)).to_vec()
}

/// To ports of the gateway itself.
pub fn ways_to_gateway(ports: &[u16]) -> Vec<Way> {
    ports.iter().map(|port| tcp_way(GATEWAY_LAN, *port)).collect()
}

pub fn tcp_way(ip: Ipv4Addr, port: u16) -> Way {
    Way { name: format!("tcp {ip}:{port}"), how: How::Tcp, to: (ip, port).into() }
}

/// Tries all at once; gives those that were answered, by name.
pub async fn answered(ns: &str, ways: &[Way], patience: Duration) -> Result<Vec<String>> {
    let tries = join_all(ways.iter().map(|way| attempt(ns, way, patience))).await;
    let mut names = Vec::new();
    for (way, answer) in ways.iter().zip(tries) {
        if answer.with_context(|| format!("{} from {ns} could not even be tried", way.name))? {
            names.push(way.name.clone());
        }
    }
    Ok(names)
}

async fn attempt(ns: &str, way: &Way, patience: Duration) -> Result<bool> {
    let talk: Pin<Box<dyn Future<Output = std::io::Result<usize>> + Send>> = match way.how {
        How::Tcp => {
            let (socket, to) = (tcp_socket(ns, way.to)?, way.to);
            // To be let in is an answer, whether a word follows or not.
            Box::pin(async move { socket.connect(to).await.map(|_stream| 1) })
        }
        How::Udp => Box::pin(exchange(udp_socket(ns, way.to)?, way.to, b"canary".to_vec())),
        How::Ping => {
            // Type 8 or 128, code 0; the kernel fills in checksum and identifier.
            let kind = if way.to.is_ipv4() { 8 } else { 128 };
            Box::pin(exchange(ping_socket(ns, way.to)?, way.to, vec![kind, 0, 0, 0, 0, 0, 0, 1]))
        }
    };
    // An ICMP error or a reset is no way out, and neither is silence.
    Ok(matches!(tokio::time::timeout(patience, talk).await, Ok(Ok(_bytes))))
}

async fn exchange(socket: UdpSocket, to: SocketAddr, message: Vec<u8>) -> std::io::Result<usize> {
    socket.connect(to).await?;
    socket.send(&message).await?;
    socket.recv(&mut [0; 512]).await
}

/// A datagram from a device, and what came back; none if nothing did in time.
pub async fn ask(ns: &str, to: SocketAddr, message: Vec<u8>, patience: Duration) -> Result<Option<Vec<u8>>> {
    ask_by(&datagrams(ns, to).await?, &message, patience).await
}

/// A device's own port, for who asks more than once from there.
pub async fn datagrams(ns: &str, to: SocketAddr) -> Result<UdpSocket> {
    let socket = udp_socket(ns, to)?;
    socket.connect(to).await?;
    Ok(socket)
}

pub async fn ask_by(socket: &UdpSocket, message: &[u8], patience: Duration) -> Result<Option<Vec<u8>>> {
    let talk = async {
        socket.send(message).await?;
        let mut reply = vec![0; 4096];
        let length = socket.recv(&mut reply).await?;
        reply.truncate(length);
        std::io::Result::Ok(reply)
    };
    // An ICMP error is no answer, and neither is silence.
    Ok(tokio::time::timeout(patience, talk).await.ok().and_then(std::io::Result::ok))
}

/// A connection from a device, for what curl cannot do.
pub async fn connect(ns: &str, to: SocketAddr, patience: Duration) -> Result<TcpStream> {
    let connecting = tcp_socket(ns, to)?.connect(to);
    tokio::time::timeout(patience, connecting)
        .await
        .with_context(|| format!("{ns} got no connection to {to}"))?
        .with_context(|| format!("{ns} to {to}"))
}

/// Reads until `enough` bytes, or the end.
pub async fn read(stream: &mut TcpStream, enough: usize) -> Result<String> {
    let mut bytes = Vec::new();
    let reading = async {
        while bytes.len() < enough && stream.read_buf(&mut bytes).await? > 0 {}
        std::io::Result::Ok(())
    };
    tokio::time::timeout(LONG, reading).await.context("nothing was said for long")??;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn tcp_socket(ns: &str, to: SocketAddr) -> Result<TcpSocket> {
    netns::inside(ns, || Ok(if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?))
}

fn udp_socket(ns: &str, to: SocketAddr) -> Result<UdpSocket> {
    let any: SocketAddr = if to.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    registered(netns::inside(ns, || Ok(std::net::UdpSocket::bind(any)?))?)
}

fn ping_socket(ns: &str, to: SocketAddr) -> Result<UdpSocket> {
    let (family, protocol) = if to.is_ipv4() {
        (AddressFamily::INET, ipproto::ICMP)
    } else {
        (AddressFamily::INET6, ipproto::ICMPV6)
    };
    let make = || Ok(socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(protocol))?);
    let socket: OwnedFd = netns::inside(ns, make)?;
    registered(std::net::UdpSocket::from(socket))
}

fn registered(socket: std::net::UdpSocket) -> Result<UdpSocket> {
    socket.set_nonblocking(true)?;
    Ok(UdpSocket::from_std(socket)?)
}
