//! From an opening to the target, if this client agrees to it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pgw_core::tunnel::{Filter, Target};
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::time::timeout;

use crate::carrier::Channel;
use crate::relay::datagrams::Datagrams;
use crate::relay::{Ended, Relay};
use crate::wire::frame::Why;
use crate::wire::open::Open;

const CONNECTED: Duration = Duration::from_secs(10);
/// Of a name with many addresses, how many are tried.
const MOST_ADDRESSES: usize = 4;
/// The gateway ends a conversation sooner.
const IDLE: Duration = Duration::from_secs(3600);

/// Both have to agree.
pub(super) struct Targets {
    own: Filter,
    operators: Mutex<Filter>,
}

impl Targets {
    pub(super) fn new(own: Filter, operators: Filter) -> Arc<Self> {
        Arc::new(Self { own, operators: Mutex::new(operators) })
    }

    pub(super) fn operator_says(&self, filter: Filter) {
        *self.operators.lock().unwrap_or_else(PoisonError::into_inner) = filter;
    }

    fn agrees(&self, to: SocketAddr) -> Result<(), Why> {
        let operators = self.operators.lock().unwrap_or_else(PoisonError::into_inner);
        self.own.judge(to.ip()).and_then(|()| operators.judge(to.ip())).map_err(|refused| {
            tracing::warn!(address = %to, reason = %refused, "target refused");
            Why::TargetDenied
        })
    }

    /// One stream, to its end. The channel comes back if it can serve another.
    pub(super) async fn serve(&self, channel: Channel, open: Open) -> Option<Channel> {
        tracing::debug!(visitor = %open.visitor, target = %open.target, udp = open.udp, "visitor");
        let Ended { channel, .. } = if open.udp {
            match self.socket(&open.target).await {
                Ok(socket) => Datagrams::new(socket, channel, Vec::new(), IDLE).run().await,
                Err(why) => Relay::refusing(tokio::io::empty(), channel, why).run().await.1,
            }
        } else {
            match self.connect(&open.target).await {
                Ok(stream) => {
                    let (stream, ended) = Relay::answering(stream, channel, open.compression).run().await;
                    if !ended.whole {
                        let _gone_already = stream.set_zero_linger();
                    }
                    ended
                }
                Err(why) => Relay::refusing(tokio::io::empty(), channel, why).run().await.1,
            }
        };
        channel
    }

    async fn connect(&self, target: &Target) -> Result<TcpStream, Why> {
        let addresses = self.addresses(target).await?;
        let attempt = async {
            let mut last = Why::TargetUnknown;
            for address in addresses {
                match TcpStream::connect(address).await {
                    // What counts is where the connection went.
                    Ok(stream) => {
                        let _slower = stream.set_nodelay(true);
                        let to = stream.peer_addr().map_err(|_gone| Why::TargetRefused)?;
                        return self.agrees(to).map(|()| stream);
                    }
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => last = Why::TargetTimeout,
                    Err(_) => last = Why::TargetRefused,
                }
            }
            Err(last)
        };
        timeout(CONNECTED, attempt).await.map_err(|_elapsed| Why::TargetTimeout)?
    }

    async fn socket(&self, target: &Target) -> Result<UdpSocket, Why> {
        let to = self.addresses(target).await?.into_iter().next().ok_or(Why::TargetUnknown)?;
        let any: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
        let bound = UdpSocket::bind(any).await.map_err(|_exhausted| Why::Busy)?;
        bound.connect(to).await.map_err(|_unreachable| Why::TargetRefused)?;
        self.agrees(bound.peer_addr().map_err(|_gone| Why::TargetRefused)?)?;
        Ok(bound)
    }

    /// Looked up each time, and judged each time: a name may mean another address than before.
    async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, Why> {
        let looked_up = timeout(CONNECTED, lookup_host((target.host.as_str(), target.port))).await;
        let found =
            looked_up.map_err(|_elapsed| Why::TargetUnknown)?.map_err(|_unknown| Why::TargetUnknown)?;
        let (mut agreed, mut why) = (Vec::new(), Why::TargetUnknown);
        for address in found.take(MOST_ADDRESSES) {
            match self.agrees(address) {
                Ok(()) => agreed.push(address),
                Err(denied) => why = denied,
            }
        }
        if agreed.is_empty() { Err(why) } else { Ok(agreed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_judged_by_the_address_it_has_now() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = |host: &str| Target { host: host.to_owned(), port };
        let only = |net: &str| Filter { allow: Some(vec![net.parse().unwrap()]), deny: Vec::new() };
        let targets = Targets::new(only("127.0.0.1/32"), Filter::open());
        assert!(targets.connect(&target("127.0.0.1")).await.is_ok());
        // The same name, and it leads elsewhere than was agreed to.
        let targets = Targets::new(only("192.0.2.0/24"), Filter::open());
        assert_eq!(targets.connect(&target("localhost")).await.unwrap_err(), Why::TargetDenied);
        assert_eq!(targets.socket(&target("localhost")).await.unwrap_err(), Why::TargetDenied);
        let targets = Targets::new(Filter::default(), only("192.0.2.0/24"));
        assert_eq!(
            targets.connect(&target("127.0.0.1")).await.unwrap_err(),
            Why::TargetDenied,
            "the operator's"
        );
        targets.operator_says(Filter::open());
        assert!(targets.connect(&target("127.0.0.1")).await.is_ok());
        assert_eq!(targets.connect(&target("169.254.169.254")).await.unwrap_err(), Why::TargetDenied);
    }
}
