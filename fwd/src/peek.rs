//! The client's first bytes, read while its upstream is dialled. They are kept for the tunnel,
//! and looked at for the name that the client asks for.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use pgw_core::dial::Said;
use pgw_core::sni::{MAX_SNIFF, Sniff, Sniffer};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;

/// A hello with its keys fits, and so does a request with its cookies, mostly.
const USUAL_WORDS: usize = 2048;

/// What the client has said so far.
pub(crate) struct Peek {
    said: watch::Sender<Vec<u8>>,
    ended: bool,
    sniffer: Sniffer,
    found: watch::Sender<Sniff>,
}

/// What it has said when it is no longer peeked at.
pub(crate) struct Heard {
    pub(crate) bytes: Vec<u8>,
    /// The client has said everything it will: its FIN stands behind the bytes.
    pub(crate) ended: bool,
    pub(crate) sniffer: Sniffer,
}

impl Peek {
    pub(crate) fn new() -> Self {
        let found = watch::Sender::new(Sniff::NeedMore);
        Self { said: watch::Sender::default(), ended: false, sniffer: Sniffer::new(), found }
    }

    /// To wait for the name with.
    pub(crate) fn found(&self) -> watch::Receiver<Sniff> {
        self.found.subscribe()
    }

    /// To send on while there is no tunnel yet.
    pub(crate) fn said(&self) -> Said {
        self.said.subscribe()
    }

    /// There is a tunnel, or none: what the relay needs of it.
    pub(crate) fn done(self) -> Heard {
        Heard { bytes: self.said.send_replace(Vec::new()), ended: self.ended, sniffer: self.sniffer }
    }

    /// Reads on, until there is an error or nothing more to be read now: then it waits for
    /// ever. What does not fit stays in the kernel, which holds the client back.
    pub(crate) async fn read(&mut self, client: &mut (impl AsyncRead + Unpin)) -> io::Error {
        while !self.ended && self.said.borrow().len() < MAX_SNIFF {
            match poll_fn(|cx| self.poll_read(cx, client)).await {
                Ok(0) => self.ended = true,
                Ok(_) => {}
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

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut (impl AsyncRead + Unpin),
    ) -> Poll<io::Result<usize>> {
        let Self { said, sniffer, .. } = self;
        let mut read = Poll::Pending;
        said.send_if_modified(|said| {
            let before = said.len();
            said.reserve(USUAL_WORDS.saturating_sub(before));
            let room = MAX_SNIFF.saturating_sub(before);
            let mut limited = AsyncReadExt::take(client, u64::try_from(room).unwrap_or(u64::MAX));
            read = pin!(limited.read_buf(said)).poll(cx);
            let new = said.get(before..).unwrap_or_default();
            if !new.is_empty() {
                sniffer.see(new);
            }
            !new.is_empty()
        });
        read
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
        assert_eq!([peek.done().bytes, rest].concat(), REQUEST);
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
        assert!(peek.done().ended);
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
        assert_eq!(peek.done().bytes.len(), MAX_SNIFF);
    }
}
