//! Who else writes to our tables: told by nftables itself, as it happens. A change of ours is
//! known by its sender; tables of others concern nobody here.

use std::io;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio_util::sync::CancellationToken;

use super::own::OwnHands;
use super::ruleset::Table;
use crate::drift::{Foreign, News};
use crate::netlink::message::{self, Message};
use crate::netlink::{Received, Socket};

/// The group NFNLGRP_NFTABLES, as a bit.
const GROUP: u32 = 1 << 6;
const NFTABLES: u16 = 10 << 8;
/// The end of every transaction.
const NEW_GENERATION: u16 = NFTABLES | 15;
const PROGRAM: u16 = 3;
/// In every other message that nftables sends to this group.
const TABLE: u16 = 1;
const INET: u8 = 1;
const IPV4: u8 = 2;
/// After the socket broke, until the next try.
const PAUSE: Duration = Duration::from_secs(5);

/// Reads notices; keeps what it knows of a transaction until its end.
#[derive(Debug, Default)]
struct Reader {
    own: OwnHands,
    /// Somebody else touched our tables in the transaction that is being read.
    touched: bool,
}

/// What one reading brought.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    by: Option<String>,
}

pub struct Watch {
    socket: AsyncFd<Socket>,
    reader: Reader,
}

impl Reader {
    /// The last foreign change of our tables that came to its end in these bytes.
    fn read(&mut self, bytes: &[u8]) -> Option<Change> {
        let mut change = None;
        for message in message::messages(bytes) {
            if message.kind == NEW_GENERATION {
                self.own.done(message.port);
                if std::mem::take(&mut self.touched) {
                    change = Some(Change { by: program(&message) });
                }
            } else if ours(&message) && !self.own.did(message.port) {
                self.touched = true;
            }
        }
        change
    }
}

fn ours(message: &Message<'_>) -> bool {
    let name = message.attributes().find(|(kind, _)| *kind == TABLE).map(|(_, name)| text(name));
    Table::ALL.into_iter().any(|table| {
        let family = match table {
            Table::Nat => IPV4,
            Table::Filter => INET,
        };
        message.kind & 0xff00 == NFTABLES
            && message.family() == Some(family)
            && name.as_deref() == Some(table.name())
    })
}

fn program(message: &Message<'_>) -> Option<String> {
    let name = message.attributes().find(|(kind, _)| *kind == PROGRAM)?.1;
    // A program may call itself as it likes.
    let name: String = text(name).chars().filter(|c| !c.is_control()).collect();
    Some(name).filter(|name| !name.is_empty())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}

impl Watch {
    /// From now on nothing is missed without being told so.
    pub fn open(own: OwnHands) -> io::Result<Self> {
        let socket = Socket::listen(GROUP)?;
        #[expect(deprecated, reason = "its successor is unsafe; what is owned here is never replaced")]
        let socket = AsyncFd::with_interest(socket, Interest::READABLE)?;
        Ok(Self { socket, reader: Reader { own, touched: false } })
    }

    async fn next(&mut self) -> io::Result<Foreign> {
        loop {
            let mut ready = self.socket.readable_mut().await?;
            let by = match ready.get_inner_mut().receive()? {
                Received::Nothing => {
                    ready.clear_ready();
                    continue;
                }
                Received::Lost => return Ok(Foreign::perhaps()),
                Received::Messages(bytes) => match self.reader.read(bytes) {
                    Some(Change { by }) => by,
                    None => continue,
                },
            };
            return Ok(Foreign::seen(by));
        }
    }
}

/// Tells of every foreign change until told to stop. While it cannot listen, the reconciler's
/// interval finds what was changed, and the status says so.
pub async fn run(first: io::Result<Watch>, own: OwnHands, news: News, stop: CancellationToken) {
    let mut opened = first;
    while !stop.is_cancelled() {
        let broken = match opened {
            Ok(watch) => {
                news.listening();
                match stop.run_until_cancelled(tell(watch, &news)).await {
                    Some(error) => error,
                    None => return,
                }
            }
            Err(error) => error,
        };
        news.deaf(&broken.to_string());
        let _stopped = stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
        opened = Watch::open(own.clone());
        // Whatever happened meanwhile was not heard.
        news.heard(Foreign::perhaps());
    }
}

async fn tell(mut watch: Watch, news: &News) -> io::Error {
    loop {
        match watch.next().await {
            Ok(foreign) => news.heard(foreign),
            Err(error) => return error,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::netlink::message::{put, request};
    use crate::nft::kernel::{Kernel, Nft};
    use crate::nft::plan::all_closed;
    use crate::nft::render;
    use crate::testing::{again_inside, inside, policy};

    fn touch(port: u32, family: u8, table: &str) -> Vec<u8> {
        let mut attributes = Vec::new();
        put(&mut attributes, TABLE, format!("{table}\0").as_bytes());
        from(port, request(NFTABLES | 12, 0, 1, family, &attributes))
    }

    fn end(port: u32, program: &str) -> Vec<u8> {
        let mut attributes = Vec::new();
        put(&mut attributes, 1, &[0, 0, 0, 7]);
        put(&mut attributes, PROGRAM, format!("{program}\0").as_bytes());
        from(port, request(NEW_GENERATION, 0, 1, 0, &attributes))
    }

    fn from(port: u32, mut message: Vec<u8>) -> Vec<u8> {
        message[12..16].copy_from_slice(&port.to_ne_bytes());
        message
    }

    fn by(program: &str) -> Option<Change> {
        Some(Change { by: Some(program.to_owned()) })
    }

    #[test]
    fn only_what_others_did_to_our_tables_is_told_with_the_name_of_the_program() {
        let mut reader = Reader::default();
        reader.own.started(7);
        for (notice, told) in [
            (vec![touch(9, IPV4, "pgw"), end(9, "nft")], by("nft")),
            (vec![touch(9, INET, "pgw_filter"), end(9, "fire\nwalld")], by("firewalld")),
            (vec![touch(9, INET, "pgw"), touch(9, IPV4, "pgw_filter"), end(9, "nft")], None),
            (vec![touch(9, IPV4, "lab"), end(9, "nft")], None),
            (vec![touch(7, IPV4, "pgw"), touch(7, INET, "pgw_filter"), end(7, "nft")], None),
            (vec![touch(7, IPV4, "pgw"), end(7, "nft")], by("nft")),
        ] {
            assert_eq!(reader.read(&notice.concat()), told, "{notice:?}");
        }
    }

    #[test]
    fn a_transaction_that_comes_in_pieces_is_told_once_at_its_end() {
        let mut reader = Reader::default();
        assert_eq!(reader.read(&touch(9, IPV4, "pgw")), None);
        assert_eq!(reader.read(&touch(9, INET, "pgw_filter")), None);
        assert_eq!(reader.read(&end(9, "nft")), by("nft"));
        assert_eq!(reader.read(&end(9, "nft")), None);
    }

    #[test]
    fn what_others_did_before_and_after_us_is_not_taken_for_ours() {
        let mut reader = Reader::default();
        reader.own.started(7);
        let notices = [
            touch(9, IPV4, "pgw"),
            end(9, "before"),
            touch(7, IPV4, "pgw"),
            end(7, "nft"),
            touch(8, INET, "pgw_filter"),
            end(8, "after"),
        ];
        assert_eq!(reader.read(&notices.concat()), by("after"));
        assert_eq!(reader.read(&notices[..4].concat()), by("nft"), "a process is ours for one change");
    }

    #[tokio::test]
    async fn the_real_kernel_tells_what_others_did_and_keeps_quiet_about_us() {
        if !inside() {
            let name = "nft::watch::tests::the_real_kernel_tells_what_others_did_and_keeps_quiet_about_us";
            return again_inside(name).await;
        }
        let (ours, others) = (Nft::default(), Nft::default());
        let mut watch = Watch::open(ours.own_hands()).unwrap();
        let clients = (0..500).map(|last| Ipv4Addr::from(0x0a00_0000 + last));
        let ruleset = render::replace(&all_closed(clients, &policy()));
        let element = |verb: &str| format!("{verb} element inet pgw_filter clients {{\n10.0.0.4\n}}\n");
        ours.apply(&ruleset).await.unwrap();
        ours.apply(&element("delete")).await.unwrap();
        others.apply("add table ip elsewhere\n").await.unwrap();
        for foreign in [&element("add"), "delete table ip pgw\n", &ruleset, "flush ruleset\n"] {
            others.apply(foreign).await.unwrap();
            let told = watch.next().await.unwrap();
            assert_eq!((told.by.as_deref(), told.seen), (Some("nft"), true), "{foreign:.60}");
        }
        ours.apply(&ruleset).await.unwrap();
        let more = tokio::time::timeout(Duration::from_millis(100), watch.next()).await;
        assert!(more.is_err(), "our own change is told as another's: {more:?}");
    }
}
