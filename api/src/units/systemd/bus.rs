//! Keeps a connection to systemd, and makes a new one when the bus went away.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use zbus::Connection;

use super::link::{Link, Signals};
use super::roll::Roll;

pub(super) const NOT_CONNECTED: &str = "the connection was lost and is being made again";
const OPEN: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

#[async_trait]
pub trait Connect: Send + Sync + 'static {
    async fn connect(&self) -> zbus::Result<Connection>;
}

pub struct SystemBus;

#[async_trait]
impl Connect for SystemBus {
    async fn connect(&self) -> zbus::Result<Connection> {
        Connection::system().await
    }
}

pub(super) struct Bus {
    connect: Box<dyn Connect>,
    roll: Arc<Roll>,
    link: watch::Sender<Option<Arc<Link>>>,
    signals: Signals,
}

impl Bus {
    pub(super) async fn open(
        connect: Box<dyn Connect>,
        roll: Arc<Roll>,
    ) -> zbus::Result<(Self, watch::Receiver<Option<Arc<Link>>>)> {
        let (link, signals, units) = open(connect.as_ref()).await?;
        roll.begin(&units);
        let (sender, receiver) = watch::channel(Some(Arc::new(link)));
        Ok((Self { connect, roll, link: sender, signals }, receiver))
    }

    /// Ends when it is dropped.
    pub(super) async fn run(mut self) {
        loop {
            let link = self.link.borrow().clone();
            if let Some(link) = link {
                link.listen(self.signals, &self.roll).await;
            }
            self.link.send_replace(None);
            tracing::warn!("the system bus went away; forwarders go on, and it is connected again");
            let (link, signals, units) = reopen(self.connect.as_ref()).await;
            self.signals = signals;
            self.link.send_replace(Some(Arc::new(link)));
            self.roll.heard_all(&units);
            tracing::info!("the system bus is back");
        }
    }
}

type Opened = (Link, Signals, Vec<(u16, String)>);

async fn open(connect: &dyn Connect) -> zbus::Result<Opened> {
    let opening = async {
        let (link, signals) = Link::open(&connect.connect().await?).await?;
        // Asked after the signals were subscribed to: what changes meanwhile is heard.
        let units = link.units().await?;
        Ok((link, signals, units))
    };
    let late = |_elapsed| Err(zbus::Error::Failure("it does not answer".into()));
    timeout(OPEN, opening).await.unwrap_or_else(late)
}

async fn reopen(connect: &dyn Connect) -> Opened {
    let mut pause = FIRST_PAUSE;
    loop {
        match open(connect).await {
            Ok(opened) => return opened,
            Err(error) => tracing::debug!(error = %error, "the system bus does not answer yet"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
