//! The connections that the kernel tracks. Rules decide about packets; a connection that began
//! under other rules keeps its way until its entry is gone.

mod fate;
mod message;

#[cfg(test)]
pub(crate) mod fake;

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;

use async_trait::async_trait;

pub(crate) use fate::{House, changed};

use crate::netlink::message::{DONE, ERROR, messages};
use crate::netlink::{Received, Socket};

/// Beyond so many devices one look at everything is cheaper than a look for each.
const FEW: usize = 8;
/// More than any device has; what is beyond is found by the next look.
const MOST_FOUND: usize = 1 << 18;
/// A list that is changed while it is read may leave something out: until nothing is found.
/// What is found after so many looks is begun again and again, and so under the present rules.
const MOST_LOOKS: usize = 4;
const NO_SUCH_ENTRY: i32 = 2;

/// One tracked connection, seen from who began it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    pub source: Ipv4Addr,
    pub destination_port: u16,
    /// Who answers in truth, and from which port: beyond all translation.
    pub answered_from: Ipv4Addr,
    pub answered_from_port: u16,
    /// By whomever; to elsewhere than the packet said.
    pub redirected: bool,
    /// By what the kernel knows it.
    handle: Vec<u8>,
}

#[async_trait]
pub trait Conntrack: Send + Sync {
    /// What these addresses began.
    async fn begun_by(&self, who: &BTreeSet<Ipv4Addr>) -> Result<Vec<Flow>, ConntrackError>;
    /// How many of them were still there.
    async fn end(&self, flows: Vec<Flow>) -> Result<usize, ConntrackError>;
}

#[derive(Debug, thiserror::Error)]
pub enum ConntrackError {
    #[error("the kernel's connection tracking cannot be asked: {0}")]
    Socket(#[from] io::Error),
    #[error("the kernel did not answer in time")]
    Silent,
    #[error("the own addresses of the gateway cannot be read: {0}")]
    Addresses(#[source] io::Error),
}

/// Ends what these addresses began under other rules; to be called when the present ones hold.
pub(crate) async fn settle(
    conntrack: &dyn Conntrack,
    who: &BTreeSet<Ipv4Addr>,
    house: &House<'_>,
) -> Result<usize, ConntrackError> {
    let mut ended = 0;
    for _look in 0..MOST_LOOKS {
        let mut flows = conntrack.begun_by(who).await?;
        flows.retain(|flow| house.ends(flow));
        if flows.is_empty() {
            break;
        }
        ended += conntrack.end(flows).await?;
    }
    Ok(ended)
}

/// Of this network namespace, by netlink.
pub struct Ctnetlink;

#[async_trait]
impl Conntrack for Ctnetlink {
    async fn begun_by(&self, who: &BTreeSet<Ipv4Addr>) -> Result<Vec<Flow>, ConntrackError> {
        let who = who.clone();
        blocking(move || {
            let mut found = Vec::new();
            if who.len() <= FEW {
                for source in &who {
                    list(Some(*source), &who, &mut found)?;
                }
            } else {
                list(None, &who, &mut found)?;
            }
            Ok(found)
        })
        .await
    }

    async fn end(&self, flows: Vec<Flow>) -> Result<usize, ConntrackError> {
        blocking(move || {
            let mut socket = Socket::open()?;
            let mut ended = 0;
            for (flow, sequence) in flows.iter().zip(1..) {
                socket.send(&message::delete(sequence, flow))?;
                ended += usize::from(was_there(&mut socket, sequence)?);
            }
            Ok(ended)
        })
        .await
    }
}

/// A busy gateway tracks hundreds of thousands: not on the thread that answers calls.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ConntrackError> + Send + 'static,
) -> Result<T, ConntrackError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panicked) => Err(ConntrackError::Socket(io::Error::other(panicked))),
    }
}

fn list(
    filter: Option<Ipv4Addr>,
    who: &BTreeSet<Ipv4Addr>,
    found: &mut Vec<Flow>,
) -> Result<(), ConntrackError> {
    let mut socket = Socket::open()?;
    socket.send(&message::list(1, filter))?;
    loop {
        for message in messages(received(&mut socket)?) {
            match message.kind {
                DONE => return Ok(()),
                ERROR => return Err(kernel_says(message.errno().unwrap_or_default())),
                _ => found.extend(message::read(&message).filter(|flow| who.contains(&flow.source))),
            }
        }
        if found.len() >= MOST_FOUND {
            return Ok(());
        }
    }
}

fn was_there(socket: &mut Socket, sequence: u32) -> Result<bool, ConntrackError> {
    loop {
        let mut answers = messages(received(socket)?).filter(|message| message.kind == ERROR);
        match answers.find(|answer| answer.sequence == sequence).map(|answer| answer.errno()) {
            Some(Some(0)) => return Ok(true),
            Some(Some(NO_SUCH_ENTRY)) => return Ok(false),
            Some(errno) => return Err(kernel_says(errno.unwrap_or_default())),
            None => {}
        }
    }
}

fn received(socket: &mut Socket) -> Result<&[u8], ConntrackError> {
    match socket.receive()? {
        Received::Messages(bytes) => Ok(bytes),
        Received::Nothing => Err(ConntrackError::Silent),
        Received::Lost => Err(ConntrackError::Socket(io::Error::other("the answer was lost"))),
    }
}

fn kernel_says(errno: i32) -> ConntrackError {
    ConntrackError::Socket(io::Error::from_raw_os_error(errno))
}

#[cfg(test)]
mod tests;
