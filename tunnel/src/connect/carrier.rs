//! A connection to the gateway: by an HTTP proxy if there is one, with TLS, and as a WebSocket where
//! nothing else gets through.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use pgw_core::handshake::Destination;
use pgw_core::handshake::http_connect::{self, Answer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::config::{Config, HttpProxy, Server};
use super::own_address::OwnAddress;
use crate::carrier::Io;
use crate::carrier::ahead::Ahead;
use crate::carrier::quic;
use crate::carrier::websocket::WebSocket;
use crate::tls::{self, Pin};
use crate::wire::{SERVER_NAME, WEBSOCKET_PATH};

/// For everything up to the first word.
const LIMIT: Duration = Duration::from_secs(15);
const MOST_ADDRESSES: usize = 4;
/// Of an HTTP answer.
const LONGEST: usize = 16 * 1024;

/// What the connection looks like from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Tls,
    WebSocket,
    Quic,
}

pub(super) struct Carrier {
    server: Server,
    proxy: Option<HttpProxy>,
    plain: Arc<ClientConfig>,
    websocket: Arc<ClientConfig>,
    pub(super) own_address: OwnAddress,
}

impl Carrier {
    pub(super) fn new(config: &Config, pin: Pin) -> Result<Self, rustls::Error> {
        Ok(Self {
            server: config.server.clone(),
            proxy: config.proxy.clone(),
            plain: tls::client_config(pin.clone(), false)?,
            websocket: tls::client_config(pin, true)?,
            own_address: OwnAddress::default(),
        })
    }

    /// A connection whose streams serve visitors.
    pub(super) async fn connect_quic(&self) -> io::Result<quinn::Connection> {
        let late = |_elapsed| io::Error::new(io::ErrorKind::TimedOut, "the gateway did not answer in time");
        let reach = async {
            let found = lookup_host((self.server.host.as_str(), self.server.port)).await?;
            let mut last = io::Error::other("the gateway's name has no address");
            for address in found.take(MOST_ADDRESSES) {
                match quic::connect(address, &self.plain).await {
                    // It moves along with the machine by itself.
                    Ok(connection) => {
                        self.own_address.is(None);
                        return Ok(connection);
                    }
                    Err(error) => last = error,
                }
            }
            Err(last)
        };
        timeout(LIMIT, Box::pin(reach)).await.map_err(late)?
    }

    pub(super) async fn connect(&self, look: Look) -> io::Result<Box<dyn Io>> {
        let late = |_elapsed| io::Error::new(io::ErrorKind::TimedOut, "the gateway did not answer in time");
        timeout(LIMIT, Box::pin(self.reach(look))).await.map_err(late)?
    }

    async fn reach(&self, look: Look) -> io::Result<Box<dyn Io>> {
        let stream = match &self.proxy {
            None => TcpStream::connect((self.server.host.as_str(), self.server.port)).await?,
            Some(proxy) => self.by(proxy).await?,
        };
        stream.set_nodelay(true)?;
        self.own_address.is(stream.local_addr().ok().map(|own| own.ip()));
        let name = ServerName::try_from(SERVER_NAME).map_err(io::Error::other)?;
        let config = if look == Look::Tls { &self.plain } else { &self.websocket };
        let stream = TlsConnector::from(config.clone()).connect(name, Ahead::new(stream)).await?;
        match look {
            Look::Tls => Ok(Box::new(stream)),
            Look::WebSocket => Ok(Box::new(self.upgrade(stream).await?)),
            Look::Quic => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    async fn by(&self, proxy: &HttpProxy) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect((proxy.host.as_str(), proxy.port)).await?;
        let to = Destination::Name(self.server.host.clone(), self.server.port);
        stream.write_all(&http_connect::request(&to, proxy.credentials.as_ref())).await?;
        let mut arrived = Vec::new();
        loop {
            // Byte by byte: what is behind the answer is not ours to keep.
            arrived.push(stream.read_u8().await?);
            match http_connect::judge(&arrived) {
                Answer::NeedMore => {}
                Answer::Established { .. } => return Ok(stream),
                Answer::Refused(status) => {
                    let words = http_connect::refusal(status).detail;
                    return Err(io::Error::other(format!("the proxy says {words}")));
                }
                Answer::NotHttp | Answer::TooLong => {
                    return Err(io::Error::other("the proxy does not speak HTTP"));
                }
            }
        }
    }

    async fn upgrade<S: Io>(&self, mut stream: S) -> io::Result<WebSocket<S>> {
        let key = generate_key();
        let request = format!(
            "GET {WEBSOCKET_PATH} HTTP/1.1\r\nHost: {SERVER_NAME}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() > LONGEST {
                return Err(io::Error::other("the answer to the WebSocket does not end"));
            }
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head);
        let mut lines = head.split("\r\n");
        let switched = lines.next().is_some_and(|status| status.starts_with("HTTP/1.1 101"));
        let accept = derive_accept_key(key.as_bytes());
        let accepted = lines.any(|line| {
            let field = line.split_once(':');
            field.is_some_and(|(name, value)| {
                name.eq_ignore_ascii_case("sec-websocket-accept") && value.trim() == accept
            })
        });
        if switched && accepted {
            Ok(WebSocket::over(stream, Role::Client).await)
        } else {
            Err(io::Error::other("the other end does not want to be a WebSocket"))
        }
    }
}
