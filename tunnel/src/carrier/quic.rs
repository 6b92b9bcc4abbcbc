//! QUIC, where UDP passes: a stream for each visitor, and a lost packet stops only the one it belongs
//! to. It costs more of the processor than lanes do.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, Endpoint, TransportConfig, VarInt};
use tokio::io::Join;

use super::Channel;
use crate::wire::SERVER_NAME;

/// Of visitors, on one connection.
const MOST_STREAMS: u32 = 1024;
/// What one visitor may leave unread.
const WINDOW: u32 = 512 * 1024;
/// Both ends hear of each other sooner than this, by the session's own words.
const IDLE: Duration = Duration::from_secs(45);

/// A stream's two halves.
pub type Stream = Join<quinn::RecvStream, quinn::SendStream>;

fn transport(visitors: u32) -> Result<Arc<TransportConfig>, io::Error> {
    let mut config = TransportConfig::default();
    config.max_concurrent_bidi_streams(visitors.into());
    config.max_concurrent_uni_streams(0_u8.into());
    config.stream_receive_window(WINDOW.into());
    // As large as all streams' windows together: with less, those that stall would stall the others.
    config.receive_window(
        VarInt::from_u64(u64::from(WINDOW) * u64::from(MOST_STREAMS)).map_err(io::Error::other)?,
    );
    config.max_idle_timeout(Some(IDLE.try_into().map_err(io::Error::other)?));
    config.datagram_receive_buffer_size(None);
    Ok(Arc::new(config))
}

/// The gateway's end, on the port of the TCP listener.
pub fn listen(address: SocketAddr, tls: &rustls::ServerConfig) -> io::Result<Endpoint> {
    let crypto = QuicServerConfig::try_from(tls.clone()).map_err(io::Error::other)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    // A client opens the session's own stream and no other.
    config.transport_config(transport(1)?);
    Endpoint::server(config, address)
}

/// The client's end.
pub async fn connect(to: SocketAddr, tls: &rustls::ClientConfig) -> io::Result<Connection> {
    let crypto = QuicClientConfig::try_from(tls.clone()).map_err(io::Error::other)?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport(MOST_STREAMS)?);
    let any: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let endpoint = Endpoint::client(any)?;
    let connecting = endpoint.connect_with(config, to, SERVER_NAME).map_err(io::Error::other)?;
    connecting.await.map_err(io::Error::other)
}

/// One stream, for one visitor or for the session's words.
pub async fn open(connection: &Connection) -> io::Result<Stream> {
    let (send, receive) = connection.open_bi().await.map_err(io::Error::other)?;
    Ok(tokio::io::join(receive, send))
}

/// The next stream that the other end opens.
pub async fn accept(connection: &Connection) -> io::Result<Stream> {
    let (send, receive) = connection.accept_bi().await.map_err(io::Error::other)?;
    Ok(tokio::io::join(receive, send))
}

/// A visitor's way to the client.
pub async fn channel(connection: &Connection) -> io::Result<Channel> {
    open(connection).await.map(Channel::once)
}
