//! `PGW_*` settings: read from a `Source`, so that tests pass a map, and all mistakes told at
//! once, each with its name, its value and what is allowed.

mod database;
mod drill;
mod reader;
mod telemetry;
mod tunnel;
mod url;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::dns::{DnsChoice, RESOLVERS_ALLOWED, Resolver};
use crate::flag::{MOST_WARM, USUAL_WARM};
use crate::health::Thresholds;
use crate::hosts::{AllowedHosts, HOSTS_ALLOWED};
use crate::log::LogLevels;
use crate::ports::PortRange;
use crate::redact::{Secret, SniLog};

pub use database::{DatabaseUrl, GATEWAY_ALLOWED, is_gateway_name};
use reader::Reader;
pub use tunnel::{TunnelDoor, TunnelSettings};
pub use url::HttpUrl;

pub trait Source {
    fn get(&self, name: &str) -> Option<String>;
}

/// The process's own environment.
pub struct Environment;

impl Source for Environment {
    fn get(&self, name: &str) -> Option<String> {
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }
}

impl Source for BTreeMap<&str, &str> {
    fn get(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| (*value).to_owned())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub name: &'static str,
    pub value: String,
    pub allowed: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, Mistake { name, value, allowed }) in self.0.iter().enumerate() {
            let separator = if n == 0 { "" } else { "; " };
            write!(f, "{separator}{name}={value:?} cannot be used: {allowed}")?;
        }
        Ok(())
    }
}

pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok().filter(|n| *n > 0)?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

/// How forwarders are run (`PGW_UNITS`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnitsChoice {
    /// systemd where it is running, else children.
    #[default]
    Auto,
    Systemd,
    Spawn,
}

/// What becomes of a closed client's packets (`PGW_CLOSED_ACTION`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClosedAction {
    #[default]
    Drop,
    /// Answers at once, so that programs notice.
    Reject,
}

/// What becomes of devices that nobody registered (`PGW_UNREGISTERED`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unregistered {
    #[default]
    Allow,
    Drop,
}

/// Must a change say which revision it means to change (`PGW_IF_MATCH`)?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IfMatch {
    #[default]
    Optional,
    Required,
}

#[derive(Debug, Clone)]
pub struct HealthSettings {
    pub url: HttpUrl,
    pub interval: Duration,
    pub timeout: Duration,
    pub thresholds: Thresholds,
}

#[derive(Debug, Clone)]
pub struct ApiSettings {
    pub listen: SocketAddr,
    pub agent_url: String,
    pub database_url: DatabaseUrl,
    /// None: the host's name.
    pub gateway: Option<String>,
    /// Opens what is sealed in the database.
    pub key_file: PathBuf,
    pub state_dir: PathBuf,
    pub run_dir: PathBuf,
    pub ports: PortRange,
    pub tunnels: TunnelDoor,
    pub units: UnitsChoice,
    pub health: HealthSettings,
    /// In which country an address is.
    pub geoip_file: Option<PathBuf>,
    pub reconcile_interval: Duration,
    pub sni_log: SniLog,
    pub dns: DnsChoice,
    pub dns_resolvers: Vec<Resolver>,
    /// For the flag files' limits.
    pub warm: u8,
    /// How often forwarders are asked what they carry.
    pub telemetry_interval: Duration,
    /// Metrics tell clients one by one.
    pub metrics_clients: bool,
    pub if_match: IfMatch,
    /// None: those that a machine of this name may be meant by.
    pub allowed_hosts: Option<AllowedHosts>,
    /// How long, and how many, events are kept.
    pub journal_days: u32,
    pub journal_rows: u32,
    pub admin_token: Option<Secret>,
    pub log: LogLevels,
}

#[derive(Debug, Clone)]
pub struct AgentSettings {
    pub listen: SocketAddr,
    pub api_url: String,
    pub state_dir: PathBuf,
    pub lan_if: String,
    pub wan_if: String,
    pub ports: PortRange,
    pub reconcile_interval: Duration,
    pub unregistered: Unregistered,
    pub closed_action: ClosedAction,
    pub dns: DnsChoice,
    /// None: only when asked for.
    pub drill_interval: Option<Duration>,
    pub admin_token: Option<Secret>,
    pub log: LogLevels,
}

#[derive(Debug, Clone)]
pub struct FwdSettings {
    pub state_dir: PathBuf,
    pub run_dir: PathBuf,
    pub log: LogLevels,
}

#[derive(Debug, Clone)]
pub struct UiSettings {
    pub listen: SocketAddr,
    pub api_url: String,
    pub agent_url: String,
    /// None: those that a machine of this name may be meant by.
    pub allowed_hosts: Option<AllowedHosts>,
    pub log: LogLevels,
}

const STATE_DIR: &str = "/var/lib/pgw";
const RUN_DIR: &str = "/run/pgw";
const API_URL: &str = "http://127.0.0.1:8080";
const AGENT_URL: &str = "http://127.0.0.1:9090";

impl ApiSettings {
    pub fn read(source: &dyn Source) -> Result<Self, Mistakes> {
        let mut r = Reader::new(source);
        let state_dir = r.dir("PGW_STATE_DIR", STATE_DIR);
        let settings = Self {
            listen: r.listen("PGW_API_LISTEN", ([0, 0, 0, 0], 8080).into()),
            agent_url: r.base_url("PGW_AGENT_URL", AGENT_URL),
            database_url: database::read_url(&mut r, &state_dir),
            gateway: database::read_gateway(&mut r),
            key_file: database::read_key_file(&mut r, &state_dir),
            state_dir,
            run_dir: r.dir("PGW_RUN_DIR", RUN_DIR),
            ports: r.ports(),
            tunnels: tunnel::read_door(&mut r),
            units: r.read("PGW_UNITS", UnitsChoice::default(), "auto, systemd or spawn", |v| match v {
                "auto" => Some(UnitsChoice::Auto),
                "systemd" => Some(UnitsChoice::Systemd),
                "spawn" => Some(UnitsChoice::Spawn),
                _ => None,
            }),
            health: read_health(&mut r),
            geoip_file: r.read(
                "PGW_GEOIP_FILE",
                None,
                "an absolute path, of a file in MaxMind's format (.mmdb)",
                |v| {
                    Some(Some(PathBuf::from(v)))
                        .filter(|path| path.as_ref().is_some_and(|path| path.is_absolute()))
                },
            ),
            reconcile_interval: r.duration("PGW_RECONCILE_INTERVAL", Duration::from_secs(15)),
            sni_log: r.read("PGW_SNI_LOG", SniLog::default(), "off, redacted or full", |v| match v {
                "off" => Some(SniLog::Off),
                "redacted" => Some(SniLog::Redacted),
                "full" => Some(SniLog::Full),
                _ => None,
            }),
            dns: read_dns(&mut r),
            dns_resolvers: r.read(
                "PGW_DNS_RESOLVERS",
                Resolver::defaults(),
                RESOLVERS_ALLOWED,
                Resolver::parse_list,
            ),
            warm: r.read("PGW_WARM", USUAL_WARM, "on, off, or a number from 1 to 64", |v| match v {
                "on" => Some(USUAL_WARM),
                "off" => Some(0),
                number => number.parse().ok().filter(|count| (1..=MOST_WARM).contains(count)),
            }),
            telemetry_interval: telemetry::read_interval(&mut r),
            metrics_clients: telemetry::read_clients(&mut r),
            if_match: r.read("PGW_IF_MATCH", IfMatch::default(), "optional or required", |v| match v {
                "optional" => Some(IfMatch::Optional),
                "required" => Some(IfMatch::Required),
                _ => None,
            }),
            allowed_hosts: read_allowed_hosts(&mut r),
            journal_days: r.read("PGW_JOURNAL_DAYS", 90, "a whole number of days from 1 to 3650", |v| {
                v.parse().ok().filter(|days| (1..=3650).contains(days))
            }),
            journal_rows: r.read(
                "PGW_JOURNAL_ROWS",
                1_000_000,
                "a whole number from 1000 to 100000000",
                |v| v.parse().ok().filter(|rows| (1_000..=100_000_000).contains(rows)),
            ),
            admin_token: read_admin_token(&mut r),
            log: r.log(),
        };
        r.finish(settings)
    }
}

/// Read by the API and by the UI, which are asked by browsers.
fn read_allowed_hosts(r: &mut Reader<'_>) -> Option<AllowedHosts> {
    r.read("PGW_ALLOWED_HOSTS", None, HOSTS_ALLOWED, |v| AllowedHosts::parse_list(v).map(Some))
}

/// Read by the API and by the agent, which must mean the same.
fn read_dns(r: &mut Reader<'_>) -> DnsChoice {
    r.read("PGW_DNS", DnsChoice::default(), "upstream or gateway", DnsChoice::parse)
}

fn read_health(r: &mut Reader<'_>) -> HealthSettings {
    let number = "a whole number from 1 to 600000";
    let count = |v: &str| v.parse::<u32>().ok().filter(|n| (1..=600_000).contains(n));
    HealthSettings {
        url: r.read(
            "PGW_HEALTH_URL",
            default_probe(),
            "an http:// or https:// URL without a user name",
            HttpUrl::parse,
        ),
        interval: r.duration("PGW_HEALTH_INTERVAL", Duration::from_secs(30)),
        timeout: r.duration("PGW_HEALTH_TIMEOUT", Duration::from_secs(5)),
        thresholds: Thresholds {
            degraded_ms: r.read("PGW_HEALTH_DEGRADED_MS", 1500, number, count),
            failures: r.read("PGW_HEALTH_FAILURES", 3, number, count),
        },
    }
}

/// Any answer that is short and plain will do; this one is served for just that purpose.
fn default_probe() -> HttpUrl {
    HttpUrl {
        tls: false,
        host: crate::proxy::Host::known("connectivitycheck.gstatic.com"),
        port: 80,
        path: "/generate_204".to_owned(),
    }
}

/// A token that can be guessed is refused.
fn read_admin_token(r: &mut Reader<'_>) -> Option<Secret> {
    let token = r.text("PGW_ADMIN_TOKEN")?;
    if token.len() < 16 || !token.bytes().all(|b| b.is_ascii_graphic()) {
        r.mistake("PGW_ADMIN_TOKEN", "***".to_owned(), "at least 16 printable characters without spaces");
    }
    Some(Secret::new(token))
}

impl AgentSettings {
    pub fn read(source: &dyn Source) -> Result<Self, Mistakes> {
        let mut r = Reader::new(source);
        let lan_if = r.interface("PGW_LAN_IF", "ens19");
        let wan_if = r.interface("PGW_WAN_IF", "eth0");
        if lan_if == wan_if {
            r.mistake("PGW_WAN_IF", wan_if.clone(), "an interface other than PGW_LAN_IF");
        }
        let settings = Self {
            listen: r.listen("PGW_AGENT_LISTEN", ([127, 0, 0, 1], 9090).into()),
            api_url: r.base_url("PGW_API_URL", API_URL),
            state_dir: r.dir("PGW_STATE_DIR", STATE_DIR),
            lan_if,
            wan_if,
            ports: r.ports(),
            reconcile_interval: r.duration("PGW_RECONCILE_INTERVAL", Duration::from_secs(15)),
            unregistered: r.read("PGW_UNREGISTERED", Unregistered::default(), "allow or drop", |v| match v {
                "allow" => Some(Unregistered::Allow),
                "drop" => Some(Unregistered::Drop),
                _ => None,
            }),
            closed_action: r.read(
                "PGW_CLOSED_ACTION",
                ClosedAction::default(),
                "drop or reject",
                |v| match v {
                    "drop" => Some(ClosedAction::Drop),
                    "reject" => Some(ClosedAction::Reject),
                    _ => None,
                },
            ),
            dns: read_dns(&mut r),
            drill_interval: drill::read_interval(&mut r),
            admin_token: read_admin_token(&mut r),
            log: r.log(),
        };
        r.finish(settings)
    }
}

impl FwdSettings {
    pub fn read(source: &dyn Source) -> Result<Self, Mistakes> {
        let mut r = Reader::new(source);
        let settings = Self {
            state_dir: r.dir("PGW_STATE_DIR", STATE_DIR),
            run_dir: r.dir("PGW_RUN_DIR", RUN_DIR),
            log: r.log(),
        };
        r.finish(settings)
    }
}

impl UiSettings {
    pub fn read(source: &dyn Source) -> Result<Self, Mistakes> {
        let mut r = Reader::new(source);
        let settings = Self {
            listen: r.listen("PGW_UI_LISTEN", ([0, 0, 0, 0], 8081).into()),
            api_url: r.base_url("PGW_API_URL", API_URL),
            agent_url: r.base_url("PGW_AGENT_URL", AGENT_URL),
            allowed_hosts: read_allowed_hosts(&mut r),
            log: r.log(),
        };
        r.finish(settings)
    }
}

#[cfg(test)]
mod tests;
