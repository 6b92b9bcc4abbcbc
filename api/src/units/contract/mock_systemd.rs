//! As much of systemd as the API speaks to, over a real D-Bus connection without a bus.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard};

use zbus::connection::Builder;
use zbus::object_server::SignalEmitter;
use zbus::{BoxDBusError, Connection, DBusError, Guid, OwnedObjectPath, Variant, interface};

use super::*;
use crate::units::systemd::{Connect, Systemd};

const MANAGER: &str = "/org/freedesktop/systemd1";

pub(super) struct SystemdRig {
    pub(super) mock: Mock,
    pub(super) units: Systemd,
    news: UnboundedReceiver<u16>,
}

/// The init system, which outlives every connection to it.
#[derive(Clone, Default)]
pub(super) struct Mock(Arc<Mutex<State>>);

#[derive(Default)]
pub(super) struct State {
    /// Unit name to ActiveState.
    units: BTreeMap<String, &'static str>,
    starts: BTreeMap<String, usize>,
    jobs: usize,
    connection: Option<Connection>,
    /// The result of the next job of a unit, if it is not "done".
    pub(super) results: BTreeMap<String, &'static str>,
    pub(super) refusal: Option<Refusal>,
    /// Jobs that never end.
    pub(super) hangs: bool,
    /// Starts are "done" and the unit is not up, as when a condition is not met.
    pub(super) conditions_fail: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Refusal {
    Unknown,
    Masked,
    Denied,
}

#[derive(Debug, DBusError)]
#[zbus(prefix = "org.freedesktop.systemd1")]
enum Refused {
    #[zbus(error)]
    ZBus(zbus::Error),
    NoSuchUnit(String),
    UnitMasked(String),
}

struct Manager(Mock);

pub(super) fn unit(port: u16) -> String {
    format!("pgw-fwd@{port}.service")
}

impl Mock {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn connection(&self) -> Connection {
        self.state().connection.clone().unwrap()
    }

    /// As a unit changes, with nobody having asked for it.
    pub(super) async fn becomes(&self, port: u16, state: &'static str) {
        self.state().units.insert(unit(port), state);
        announce(&self.connection(), &unit(port), state).await;
    }

    /// As it dies while nobody can be told.
    pub(super) fn dies_unseen(&self, port: u16) {
        self.state().units.insert(unit(port), "failed");
    }

    pub(super) fn has_unit(&self, port: u16) -> bool {
        self.state().units.contains_key(&unit(port))
    }

    /// The bus goes away; systemd goes on.
    pub(super) async fn hang_up(&self) {
        let connection = self.state().connection.take().unwrap();
        connection.close().await.unwrap();
    }

    /// Signals of every other job come before the answer that names it, as they may.
    async fn job(
        &self,
        name: String,
        start: bool,
        connection: &Connection,
    ) -> Result<OwnedObjectPath, BoxDBusError> {
        let (state, result, number, hangs) = {
            let mut world = self.state();
            match world.refusal {
                Some(Refusal::Unknown) => {
                    return Err(Box::new(Refused::NoSuchUnit(format!("Unit {name} not found."))));
                }
                Some(Refusal::Masked) => {
                    return Err(Box::new(Refused::UnitMasked(format!("Unit {name} is masked."))));
                }
                Some(Refusal::Denied) => {
                    return Err(zbus::fdo::Error::AccessDenied("Permission denied".into()).into());
                }
                None => {}
            }
            let was_up = world.units.get(&name) == Some(&"active");
            if !start && !world.units.contains_key(&name) {
                return Err(Box::new(Refused::NoSuchUnit(format!("Unit {name} not loaded."))));
            }
            let result = world.results.remove(&name).unwrap_or("done");
            let state = match (start, result) {
                (true, "done") if world.conditions_fail => "inactive",
                (true, "done") => "active",
                (true, _) => "failed",
                (false, _) => "inactive",
            };
            if start && state == "active" && !was_up {
                *world.starts.entry(name.clone()).or_default() += 1;
            }
            world.units.insert(name.clone(), state);
            world.jobs += 1;
            (state, result, world.jobs, world.hangs)
        };
        let job = OwnedObjectPath::try_from(format!("{MANAGER}/job/{number}")).unwrap();
        if hangs {
            return Ok(job);
        }
        let (connection, ended) = (connection.clone(), job.clone());
        let signals = async move {
            announce(&connection, &name, state).await;
            let emitter = SignalEmitter::new(&connection, MANAGER).unwrap();
            let id = u32::try_from(number).unwrap();
            Manager::job_removed(&emitter, id, ended, &name, result).await.unwrap();
        };
        if number.is_multiple_of(2) {
            signals.await;
        } else {
            tokio::spawn(signals);
        }
        Ok(job)
    }
}

async fn announce(connection: &Connection, name: &str, state: &str) {
    let escaped = name.replace('-', "_2d").replace('@', "_40").replace('.', "_2e");
    let changed = HashMap::from([("ActiveState", Variant::from(state)), ("SubState", Variant::from("x"))]);
    let body = ("org.freedesktop.systemd1.Unit", changed, Vec::<&str>::new());
    let path = format!("{MANAGER}/unit/{escaped}");
    let properties = "org.freedesktop.DBus.Properties";
    connection.emit_signal(None::<&str>, path, properties, "PropertiesChanged", &body).await.unwrap();
}

type Listed = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

fn listed(name: &str, state: &str) -> Listed {
    let none = || OwnedObjectPath::try_from("/").unwrap();
    let text = String::new;
    (name.into(), text(), "loaded".into(), state.into(), text(), text(), none(), 0, text(), none())
}

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    fn subscribe(&self) {}

    async fn start_unit(
        &self,
        name: String,
        mode: String,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, BoxDBusError> {
        assert_eq!(mode, "replace");
        self.0.job(name, true, connection).await
    }

    async fn stop_unit(
        &self,
        name: String,
        mode: String,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, BoxDBusError> {
        assert_eq!(mode, "replace");
        self.0.job(name, false, connection).await
    }

    fn list_units_by_names(&self, names: Vec<String>) -> Vec<Listed> {
        let world = self.0.state();
        let state = |name: &String| world.units.get(name).copied().unwrap_or("inactive");
        names.iter().map(|name| listed(name, state(name))).collect()
    }

    fn list_units_by_patterns(&self, states: Vec<String>, patterns: Vec<String>) -> Vec<Listed> {
        assert!(states.is_empty() && patterns == ["pgw-fwd@*.service"]);
        self.0.state().units.iter().map(|(name, state)| listed(name, state)).collect()
    }

    #[zbus(signal)]
    async fn job_removed(
        emitter: &SignalEmitter<'_>,
        id: u32,
        job: OwnedObjectPath,
        unit: &str,
        result: &str,
    ) -> zbus::Result<()>;
}

#[async_trait]
impl Connect for Mock {
    async fn connect(&self) -> zbus::Result<Connection> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let server = Builder::unix_stream(theirs)
            .server(Guid::generate())
            .p2p()
            .serve_at(MANAGER, Manager(self.clone()))
            .build();
        let client = Builder::unix_stream(ours).p2p().build();
        let (server, client) = tokio::join!(server, client);
        self.state().connection = Some(server?);
        client
    }
}

impl SystemdRig {
    pub(super) async fn new() -> Self {
        Self::over(Mock::default()).await
    }

    pub(super) async fn over(mock: Mock) -> Self {
        let (told, news) = mpsc::unbounded_channel();
        let units = Systemd::connect(Box::new(mock.clone()), told).await.unwrap();
        Self { mock, units, news }
    }
}

#[async_trait]
impl Rig for SystemdRig {
    fn units(&self) -> &dyn Units {
        &self.units
    }

    fn news(&mut self) -> &mut UnboundedReceiver<u16> {
        &mut self.news
    }

    fn starts(&self, port: u16) -> usize {
        self.mock.state().starts.get(&unit(port)).copied().unwrap_or_default()
    }

    fn refuse(&self, port: u16) {
        self.mock.state().results.insert(unit(port), "failed");
    }

    async fn kill(&self, port: u16) {
        self.mock.becomes(port, "activating").await;
        self.mock.becomes(port, "active").await;
    }
}
