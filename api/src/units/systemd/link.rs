//! One connection to systemd: the calls, and what it says without being asked.
//!
//! All signals are read by one task that makes no calls: a stream that nobody reads would hold up
//! the answers that come behind it on the same connection.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;
use tokio::sync::mpsc;
use zbus::message::Type;
use zbus::proxy::CacheProperties;
use zbus::{Connection, MatchRule, Message, MessageStream, OwnedObjectPath, OwnedVariant};
use zbus_systemd::systemd1::{JobRemovedStream, ManagerProxy};

use super::roll::{PATTERN, Roll, port_of_name, port_of_path, unit_name};
use crate::units::UnitError;

const UNIT: &str = "org.freedesktop.systemd1.Unit";
const UNITS: &str = "/org/freedesktop/systemd1/unit";

pub(super) struct Link {
    pub(super) manager: ManagerProxy<'static>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    by_ticket: BTreeMap<u64, (u16, mpsc::UnboundedSender<(OwnedObjectPath, String)>)>,
}

/// The ends of this port's jobs; unbounded, for it lasts as long as one order.
pub(super) struct Results<'a> {
    link: &'a Link,
    ticket: u64,
    heard: mpsc::UnboundedReceiver<(OwnedObjectPath, String)>,
}

/// What systemd says without being asked.
pub(super) struct Signals {
    jobs: JobRemovedStream,
    properties: MessageStream,
}

impl Link {
    /// Listens before anything can be asked.
    pub(super) async fn open(connection: &Connection) -> zbus::Result<(Self, Signals)> {
        let manager = ManagerProxy::builder(connection).cache_properties(CacheProperties::No).build().await?;
        // Any sender will do: a false message leads to one look too many, and no further.
        let changes = MatchRule::builder()
            .msg_type(Type::Signal)
            .interface("org.freedesktop.DBus.Properties")
            .member("PropertiesChanged")
            .path_namespace(UNITS)
            .arg(0, UNIT)
            .build()?;
        let properties = MessageStream::for_match_rule(changes, connection, None).await?;
        let jobs = manager.receive_job_removed().await?;
        manager.subscribe().await?;
        Ok((Self { manager, waiting: Mutex::default() }, Signals { jobs, properties }))
    }

    /// Returns when the connection ends.
    pub(super) async fn listen(&self, signals: Signals, roll: &Roll) {
        let Signals { mut jobs, mut properties } = signals;
        loop {
            tokio::select! {
                // In the order of systemd, which tells a unit's change before the end of its job.
                biased;
                change = properties.next() => {
                    let Some(Ok(change)) = change else { break };
                    if let Some((port, state)) = changed_state(&change) {
                        roll.heard(port, &state);
                    }
                }
                job = jobs.next() => {
                    let Some(job) = job else { break };
                    if let Ok(job) = job.args() {
                        self.pass_on(&job.unit, &job.job, &job.result);
                    }
                }
            }
        }
        // Whoever waits for a job on this connection waits in vain.
        self.waiting().by_ticket.clear();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass_on(&self, unit: &str, job: &OwnedObjectPath, result: &str) {
        let Some(port) = port_of_name(unit) else { return };
        for (_, heard) in self.waiting().by_ticket.values().filter(|(waiting, _)| *waiting == port) {
            // One that has heard enough is about to leave.
            let _ = heard.send((job.clone(), result.to_owned()));
        }
    }

    pub(super) fn results_for(&self, port: u16) -> Results<'_> {
        let (hear, heard) = mpsc::unbounded_channel();
        let mut waiting = self.waiting();
        let ticket = waiting.next;
        waiting.next += 1;
        waiting.by_ticket.insert(ticket, (port, hear));
        Results { link: self, ticket, heard }
    }

    pub(super) async fn state(&self, port: u16) -> Result<String, UnitError> {
        let found = self.manager.list_units_by_names(vec![unit_name(port)]).await?;
        let state = found.into_iter().next().map(|(_name, _text, _load, active, ..)| active);
        Ok(state.unwrap_or_else(|| "inactive".into()))
    }

    /// All forwarders that systemd has in memory, with their states.
    pub(super) async fn units(&self) -> zbus::Result<Vec<(u16, String)>> {
        let units = self.manager.list_units_by_patterns(Vec::new(), vec![PATTERN.into()]).await?;
        let state = |(name, _text, _load, active, ..): (String, _, _, String, _, _, _, _, _, _)| {
            port_of_name(&name).map(|port| (port, active))
        };
        Ok(units.into_iter().filter_map(state).collect())
    }
}

impl Results<'_> {
    pub(super) async fn of(&mut self, job: &OwnedObjectPath) -> Result<String, UnitError> {
        while let Some((ended, result)) = self.heard.recv().await {
            if ended == *job {
                return Ok(result);
            }
        }
        Err(zbus::Error::Failure("the connection ended while a job was under way".into()).into())
    }
}

impl Drop for Results<'_> {
    fn drop(&mut self) {
        self.link.waiting().by_ticket.remove(&self.ticket);
    }
}

fn changed_state(change: &Message) -> Option<(u16, String)> {
    let header = change.header();
    let port = port_of_path(header.path()?.as_str())?;
    let body = change.body();
    let (_interface, mut properties, _invalid): (String, HashMap<String, OwnedVariant>, Vec<String>) =
        body.deserialize().ok()?;
    Some((port, String::try_from(properties.remove("ActiveState")?).ok()?))
}

fn error_name(error: &zbus::Error) -> Option<&str> {
    match error {
        zbus::Error::MethodError(name, ..) => Some(name.as_str()),
        _ => None,
    }
}

pub(super) fn is_unknown_unit(error: &zbus::Error) -> bool {
    error_name(error) == Some("org.freedesktop.systemd1.NoSuchUnit")
}

/// What a refused order means.
pub(super) fn refusal(verb: &'static str, port: u16, error: zbus::Error) -> UnitError {
    if is_unknown_unit(&error) {
        return UnitError::NotInstalled {
            what: "pgw-fwd@.service".into(),
            remedy: "systemd has no such unit",
        };
    }
    let text = match &error {
        zbus::Error::FDO(fdo) => match **fdo {
            zbus::fdo::Error::AccessDenied(_) | zbus::fdo::Error::InteractiveAuthorizationRequired(_) => {
                return UnitError::Denied { port, verb };
            }
            _ => return error.into(),
        },
        zbus::Error::MethodError(_, text, _) => text.clone(),
        _ => return error.into(),
    };
    // Masked, broken, or a name for what this program does not know yet.
    let result = error_name(&error).unwrap_or_default().rsplit('.').next().unwrap_or_default().to_owned();
    UnitError::Failed { port, result, detail: text.unwrap_or_else(|| "systemd does not say why".into()) }
}
