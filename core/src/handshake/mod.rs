//! The upstreams' handshakes as pure functions: bytes in, bytes out, judged byte by byte.

pub mod http_connect;
pub mod socks5;
