//! Does anything listen on a port of this machine, as the kernel says?

use std::path::Path;

/// Of this network namespace.
const SOCKETS: &str = "/proc/self/net/tcp";
const LISTENS: &str = "0A";

/// One that cannot be found out is told as no.
pub(super) async fn listens(port: u16) -> bool {
    let table = tokio::fs::read_to_string(Path::new(SOCKETS)).await;
    table.is_ok_and(|table| is_among(&table, port))
}

fn is_among(table: &str, port: u16) -> bool {
    table.lines().skip(1).any(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let own = words.next().and_then(|address| address.split_once(':'));
        own.is_some_and(|(_, own)| u16::from_str_radix(own, 16) == Ok(port)) && words.nth(1) == Some(LISTENS)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_is_open_while_somebody_listens_and_not_longer() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let caller = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert!(listens(port).await);
        let callers_port = caller.local_addr().unwrap().port();
        assert!(!listens(callers_port).await, "a connection is none");
        drop(listener);
        assert!(!listens(port).await);
    }
}
