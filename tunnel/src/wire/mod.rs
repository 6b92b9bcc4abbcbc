//! What both ends say. Words about the session are JSON documents, as between all programs of the
//! house; what carries visitors' bytes is four bytes of header and the bytes.

pub mod frame;
pub mod hello;
pub mod line;
pub mod open;
pub mod word;

/// Of everything in here. A gateway serves those from [`OLDEST`] on.
pub const PROTOCOL: u16 = 1;
pub const OLDEST: u16 = 1;
/// What TLS is asked for (ALPN) when no WebSocket is wanted.
pub const ALPN: &[u8] = b"pgw-tunnel/1";
/// Where the WebSocket is, on the same port.
pub const WEBSOCKET_PATH: &str = "/.well-known/pgw-tunnel";
/// The name in the gateway's own certificate. Who it is is decided by the pin.
pub const SERVER_NAME: &str = "tunnel.pgw.internal";
