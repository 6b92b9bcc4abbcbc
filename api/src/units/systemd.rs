//! Forwarders as `pgw-fwd@<port>.service`. An order counts as done when systemd says that its
//! job is done and the unit is in the state that was asked for.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::{Told, UnitError, Units};
use bus::{Bus, NOT_CONNECTED};
use link::Link;
use roll::{Roll, unit_name};

mod bus;
mod link;
mod roll;

pub use bus::{Connect, SystemBus};

const START: Duration = Duration::from_secs(10);
/// The unit's `TimeoutStopSec`, after which systemd kills, and a margin.
const STOP: Duration = Duration::from_secs(16);
/// Any question that systemd answers out of its memory.
const QUESTION: Duration = Duration::from_secs(5);

pub struct Systemd {
    link: watch::Receiver<Option<Arc<Link>>>,
    roll: Arc<Roll>,
    _bus: AbortOnDropHandle<()>,
}

/// What an order makes of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Start,
    Stop,
}

impl Order {
    fn verb(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
        }
    }

    fn deadline(self) -> Duration {
        match self {
            Self::Start => START,
            Self::Stop => STOP,
        }
    }
}

impl Systemd {
    /// Fails when the bus does not answer now; when it goes away later, it is connected again.
    pub async fn connect(connect: Box<dyn Connect>, told: Told) -> Result<Self, UnitError> {
        let roll = Arc::new(Roll::new(told));
        let (bus, link) = Bus::open(connect, roll.clone()).await?;
        let bus = AbortOnDropHandle::new(tokio::spawn(bus.run()));
        Ok(Self { link, roll, _bus: bus })
    }

    fn link(&self) -> Result<Arc<Link>, UnitError> {
        self.link.borrow().clone().ok_or_else(|| zbus::Error::Failure(NOT_CONNECTED.into()).into())
    }

    async fn carry_out(&self, order: Order, port: u16) -> Result<(), UnitError> {
        match timeout(order.deadline(), self.job(order, port)).await {
            Ok(done) => done,
            Err(_elapsed) => Err(UnitError::Timeout {
                port,
                verb: order.verb(),
                seconds: order.deadline().as_secs(),
                detail: journal(port),
            }),
        }
    }

    async fn job(&self, order: Order, port: u16) -> Result<(), UnitError> {
        let link = self.link()?;
        // Before the order is given: a job may be over before its name is known here.
        let mut results = link.results_for(port);
        let asked = match order {
            Order::Start => link.manager.start_unit(unit_name(port), "replace".into()).await,
            Order::Stop => link.manager.stop_unit(unit_name(port), "replace".into()).await,
        };
        let job = match asked {
            Ok(job) => job,
            Err(error) if order == Order::Stop && link::is_unknown_unit(&error) => return Ok(()),
            Err(error) => return Err(link::refusal(order.verb(), port, error)),
        };
        let result = results.of(&job).await?;
        if result != "done" {
            return Err(UnitError::Failed { port, result, detail: journal(port) });
        }
        // A unit that a condition kept from starting is "done" as well.
        match (order, link.state(port).await?) {
            (Order::Start, state) if !roll::is_up(&state) => {
                Err(UnitError::Failed { port, result: format!("it is {state}"), detail: journal(port) })
            }
            (Order::Start | Order::Stop, _) => Ok(()),
        }
    }
}

#[async_trait]
impl Units for Systemd {
    async fn start(&self, port: u16) -> Result<(), UnitError> {
        // That it comes up is no news.
        let _expected = self.roll.expect(port);
        self.carry_out(Order::Start, port).await
    }

    async fn stop(&self, port: u16) -> Result<(), UnitError> {
        // From here on its end is no news.
        self.roll.forget(port);
        self.carry_out(Order::Stop, port).await
    }

    async fn running(&self) -> Result<BTreeSet<u16>, UnitError> {
        let link = self.link()?;
        match timeout(QUESTION, link.units()).await {
            Ok(units) => {
                let there = units?.into_iter().filter(|(_, state)| roll::is_there(state));
                Ok(there.map(|(port, _)| port).collect())
            }
            Err(_elapsed) => Err(zbus::Error::Failure("it does not answer".into()).into()),
        }
    }

    /// It keeps the sockets of a unit that died until it is started again, or stopped.
    async fn keeps(&self, port: u16) -> bool {
        super::listening::listens(port).await
    }

    fn kind(&self) -> &'static str {
        "systemd"
    }
}

fn journal(port: u16) -> String {
    format!("see journalctl -u pgw-fwd@{port}")
}
