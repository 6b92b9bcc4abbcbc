//! The client's first bytes, read while its upstream is dialled. They are kept for the tunnel,
//! and looked at for the name that the client asks for.

use std::io;

use pgw_core::sni::{MAX_SNIFF, Sniff, Sniffer};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;

/// What the client has said so far.
pub(crate) struct Peek {
    pub(crate) bytes: Vec<u8>,
    /// The client has said everything it will: its FIN stands behind the bytes.
    pub(crate) ended: bool,
    pub(crate) sniffer: Sniffer,
    found: watch::Sender<Sniff>,
}

impl Peek {
    pub(crate) fn new() -> Self {
        let found = watch::Sender::new(Sniff::NeedMore);
        Self { bytes: Vec::new(), ended: false, sniffer: Sniffer::new(), found }
    }

    /// To wait for the name with.
    pub(crate) fn found(&self) -> watch::Receiver<Sniff> {
        self.found.subscribe()
    }

    /// Reads on, until there is an error or nothing more to be read now: then it waits for
    /// ever. What does not fit stays in the kernel, which holds the client back.
    pub(crate) async fn read(&mut self, client: &mut (impl AsyncRead + Unpin)) -> io::Error {
        while !self.ended && self.bytes.len() < MAX_SNIFF {
            let before = self.bytes.len();
            let room = MAX_SNIFF.saturating_sub(before);
            let most = u64::try_from(room).unwrap_or(u64::MAX);
            match AsyncReadExt::take(&mut *client, most).read_buf(&mut self.bytes).await {
                Ok(0) => self.ended = true,
                Ok(_) => {
                    self.sniffer.see(self.bytes.get(before..).unwrap_or_default());
                }
                Err(error) => return error,
            }
            let found = match self.sniffer.found() {
                Sniff::NeedMore if self.ended => Sniff::NoName,
                found => found.clone(),
            };
            self.found.send_replace(found);
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\nbody";

    #[tokio::test]
    async fn a_name_in_single_bytes_is_found_and_no_byte_is_lost() {
        let (mut client, mut gateway) = tokio::io::duplex(1);
        let mut peek = Peek::new();
        let mut found = peek.found();
        tokio::select! {
            error = peek.read(&mut gateway) => panic!("{error}"),
            written = client.write_all(REQUEST) => written.unwrap(),
        }
        drop(client);
        let found = tokio::select! {
            error = peek.read(&mut gateway) => panic!("{error}"),
            found = found.wait_for(|_found| true) => found.unwrap().clone(),
        };
        assert_eq!(found, Sniff::Name("a.example".into()));
        let mut rest = Vec::new();
        gateway.read_to_end(&mut rest).await.unwrap();
        assert_eq!([peek.bytes, rest].concat(), REQUEST);
    }

    #[tokio::test]
    async fn an_end_without_a_name_is_not_waited_for() {
        let (client, mut gateway) = tokio::io::duplex(64);
        drop(client);
        let mut peek = Peek::new();
        let mut found = peek.found();
        tokio::select! {
            error = peek.read(&mut gateway) => panic!("{error}"),
            found = found.wait_for(|found| *found == Sniff::NoName) => drop(found.unwrap()),
        }
        assert!(peek.ended);
    }

    #[tokio::test]
    async fn no_more_is_read_than_the_bound() {
        let (mut client, mut gateway) = tokio::io::duplex(4096);
        let mut peek = Peek::new();
        let written = async { client.write_all(&vec![b'G'; 2 * MAX_SNIFF]).await };
        let unlimited = tokio::select! {
            biased;
            error = peek.read(&mut gateway) => panic!("{error}"),
            written = written => written.is_ok(),
            () = async { for _turn in 0..1000 { tokio::task::yield_now().await } } => false,
        };
        assert!(!unlimited);
        assert_eq!(peek.bytes.len(), MAX_SNIFF);
    }
}
