//! What streams travel on. A visitor gets a connection of its own, which the client has made ahead
//! of demand (a lane), and if none is left a stream on one that carries many.

use std::fmt;

use tokio::io::{AsyncRead, AsyncWrite};

pub mod ahead;
pub mod counted;
pub mod mux;
pub mod quic;
pub mod websocket;

/// Anything that bytes go over.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A way for one stream at a time.
pub struct Channel {
    pub io: Box<dyn Io>,
    /// Arrived, and not looked at yet.
    pub left: Vec<u8>,
    /// It serves another stream when this one is over.
    pub again: bool,
}

impl Channel {
    /// For one stream after the other.
    pub fn lane(io: impl Io + 'static) -> Self {
        Self { io: Box::new(io), left: Vec::new(), again: true }
    }

    /// For one stream.
    pub fn once(io: impl Io + 'static) -> Self {
        Self { io: Box::new(io), left: Vec::new(), again: false }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("left", &self.left.len()).field("again", &self.again).finish()
    }
}
