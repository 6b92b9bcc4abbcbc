//! `PGW_*` settings: read from a `Source`, so that tests pass a map, and all mistakes told at
//! once, each with its name, its value and what is allowed.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::dns::{DnsChoice, RESOLVERS_ALLOWED, Resolver};
use crate::health::Thresholds;
use crate::ports::PortRange;
use crate::redact::{Secret, SniLog};

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

/// Reads settings and remembers every mistake.
struct Reader<'a> {
    source: &'a dyn Source,
    mistakes: Vec<Mistake>,
}

impl<'a> Reader<'a> {
    fn new(source: &'a dyn Source) -> Self {
        Self { source, mistakes: Vec::new() }
    }

    /// An empty value counts as not set, as an env file's `NAME=` is meant.
    fn text(&self, name: &str) -> Option<String> {
        self.source.get(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty())
    }

    fn read<T>(
        &mut self,
        name: &'static str,
        default: T,
        allowed: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> T {
        let Some(value) = self.text(name) else { return default };
        match parse(&value) {
            Some(parsed) => parsed,
            None => {
                self.mistake(name, value, allowed);
                default
            }
        }
    }

    fn mistake(&mut self, name: &'static str, value: String, allowed: &'static str) {
        self.mistakes.push(Mistake { name, value, allowed });
    }

    fn listen(&mut self, name: &'static str, default: SocketAddr) -> SocketAddr {
        self.read(name, default, "an address and port, such as 127.0.0.1:8080", |v| v.parse().ok())
    }

    fn dir(&mut self, name: &'static str, default: &str) -> PathBuf {
        self.read(name, PathBuf::from(default), "an absolute path", |v| {
            Some(PathBuf::from(v)).filter(|path| path.is_absolute())
        })
    }

    fn duration(&mut self, name: &'static str, default: Duration) -> Duration {
        self.read(name, default, "a time such as 500ms, 30s, 5m or 1h, more than nothing", parse_duration)
    }

    fn base_url(&mut self, name: &'static str, default: &str) -> String {
        self.read(name, default.to_owned(), "a URL such as http://127.0.0.1:8080, with no path", |v| {
            let v = v.strip_suffix('/').unwrap_or(v);
            HttpUrl::parse(v).filter(|url| url.path == "/" && !v.ends_with('/')).map(|_url| v.to_owned())
        })
    }

    fn interface(&mut self, name: &'static str, default: &str) -> String {
        self.read(
            name,
            default.to_owned(),
            "an interface name: up to 15 letters, digits, '.', '-', '_' or '@'",
            |v| {
                let fits = (1..=15).contains(&v.len())
                    && v != "."
                    && v != ".."
                    && v.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_@".contains(&b));
                fits.then(|| v.to_owned())
            },
        )
    }

    fn ports(&mut self) -> PortRange {
        let number = "a port from 1 to 65535";
        let port = |v: &str| v.parse::<u16>().ok().filter(|p| *p > 0);
        let base = self.read("PGW_FWD_BASE_PORT", 15001, number, port);
        let max = self.read("PGW_FWD_MAX_PORT", 15999, number, port);
        if base > max {
            self.mistake("PGW_FWD_MAX_PORT", max.to_string(), "not below PGW_FWD_BASE_PORT");
        }
        PortRange::spanning(base, max)
    }

    fn finish<T>(self, settings: T) -> Result<T, Mistakes> {
        if self.mistakes.is_empty() { Ok(settings) } else { Err(Mistakes(self.mistakes)) }
    }
}

/// `http://host[:port][/path]` or `https://…`, enough for a probe and for the programs' own
/// addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl {
    pub tls: bool,
    pub host: crate::proxy::Host,
    pub port: u16,
    /// With its query; `/` when there is none.
    pub path: String,
}

impl HttpUrl {
    pub fn parse(text: &str) -> Option<Self> {
        let (tls, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => return None,
        };
        let (authority, path) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at_checked(at)?,
            None => (rest, "/"),
        };
        let path = if path.starts_with('?') { format!("/{path}") } else { path.to_owned() };
        let printable = path.bytes().all(|b| b.is_ascii_graphic());
        let default_port = if tls { 443 } else { 80 };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok().filter(|p| *p > 0)?),
            Some(_) | None => (authority, default_port),
        };
        let host = host.parse().ok()?;
        printable.then_some(Self { tls, host, port, path })
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
    pub database_url: String,
    pub state_dir: PathBuf,
    pub run_dir: PathBuf,
    pub ports: PortRange,
    pub units: UnitsChoice,
    pub health: HealthSettings,
    pub reconcile_interval: Duration,
    pub sni_log: SniLog,
    pub dns: DnsChoice,
    pub dns_resolvers: Vec<Resolver>,
    pub admin_token: Option<Secret>,
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
    pub admin_token: Option<Secret>,
}

#[derive(Debug, Clone)]
pub struct FwdSettings {
    pub state_dir: PathBuf,
    pub run_dir: PathBuf,
}

#[derive(Debug, Clone)]
pub struct UiSettings {
    pub listen: SocketAddr,
    pub api_url: String,
    pub agent_url: String,
}

const STATE_DIR: &str = "/var/lib/pgw";
const RUN_DIR: &str = "/run/pgw";
const API_URL: &str = "http://127.0.0.1:8080";
const AGENT_URL: &str = "http://127.0.0.1:9090";

impl ApiSettings {
    pub fn read(source: &dyn Source) -> Result<Self, Mistakes> {
        let mut r = Reader::new(source);
        let state_dir = r.dir("PGW_STATE_DIR", STATE_DIR);
        let default_database = format!("sqlite://{}", state_dir.join("pgw.db").display());
        let settings = Self {
            listen: r.listen("PGW_API_LISTEN", ([0, 0, 0, 0], 8080).into()),
            agent_url: r.base_url("PGW_AGENT_URL", AGENT_URL),
            database_url: r.read(
                "PGW_DATABASE_URL",
                default_database,
                "sqlite:// and an absolute path",
                |v| {
                    let path = v.strip_prefix("sqlite://")?;
                    (path.starts_with('/') && path.len() > 1 && !path.contains('?')).then(|| v.to_owned())
                },
            ),
            state_dir,
            run_dir: r.dir("PGW_RUN_DIR", RUN_DIR),
            ports: r.ports(),
            units: r.read("PGW_UNITS", UnitsChoice::default(), "auto, systemd or spawn", |v| match v {
                "auto" => Some(UnitsChoice::Auto),
                "systemd" => Some(UnitsChoice::Systemd),
                "spawn" => Some(UnitsChoice::Spawn),
                _ => None,
            }),
            health: read_health(&mut r),
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
            admin_token: read_admin_token(&mut r),
        };
        r.finish(settings)
    }
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
            admin_token: read_admin_token(&mut r),
        };
        r.finish(settings)
    }
}

impl FwdSettings {
    pub fn read(source: &dyn Source) -> Result<Self, Mistakes> {
        let mut r = Reader::new(source);
        let settings =
            Self { state_dir: r.dir("PGW_STATE_DIR", STATE_DIR), run_dir: r.dir("PGW_RUN_DIR", RUN_DIR) };
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
        };
        r.finish(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(pairs: &[(&'static str, &'static str)]) -> Result<ApiSettings, Mistakes> {
        ApiSettings::read(&pairs.iter().copied().collect::<BTreeMap<_, _>>())
    }

    fn agent(pairs: &[(&'static str, &'static str)]) -> Result<AgentSettings, Mistakes> {
        AgentSettings::read(&pairs.iter().copied().collect::<BTreeMap<_, _>>())
    }

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let api = api(&[]).unwrap();
        assert_eq!(api.listen.to_string(), "0.0.0.0:8080");
        assert_eq!(api.database_url, "sqlite:///var/lib/pgw/pgw.db");
        assert_eq!(api.ports.to_string(), "15001..15999");
        assert_eq!((api.health.interval.as_secs(), api.health.timeout.as_secs()), (30, 5));
        assert_eq!(api.health.thresholds, Thresholds { degraded_ms: 1500, failures: 3 });
        let resolvers: Vec<String> = api.dns_resolvers.iter().map(ToString::to_string).collect();
        assert_eq!(resolvers, ["https://1.1.1.1/dns-query", "https://8.8.8.8/dns-query"]);
        let agent = agent(&[]).unwrap();
        assert_eq!((api.dns, agent.dns), (DnsChoice::Upstream, DnsChoice::Upstream));
        assert_eq!(agent.listen.to_string(), "127.0.0.1:9090");
        assert_eq!((agent.lan_if.as_str(), agent.wan_if.as_str()), ("ens19", "eth0"));
        assert_eq!((agent.unregistered, agent.closed_action), (Unregistered::Allow, ClosedAction::Drop));
        let ui = UiSettings::read(&BTreeMap::new()).unwrap();
        assert_eq!(ui.listen.to_string(), "0.0.0.0:8081");
    }

    #[test]
    fn a_setting_that_cannot_be_used_is_named_with_its_value_and_what_is_allowed() {
        for (name, value) in [
            ("PGW_API_LISTEN", "8080"),
            ("PGW_STATE_DIR", "relative/path"),
            ("PGW_AGENT_URL", "127.0.0.1:9090"),
            ("PGW_AGENT_URL", "http://127.0.0.1:9090/agent"),
            ("PGW_DATABASE_URL", "mysql://x"),
            ("PGW_DATABASE_URL", "sqlite://relative.db"),
            ("PGW_FWD_BASE_PORT", "0"),
            ("PGW_FWD_BASE_PORT", "70000"),
            ("PGW_FWD_MAX_PORT", "15000"),
            ("PGW_UNITS", "docker"),
            ("PGW_HEALTH_URL", "ftp://x"),
            ("PGW_HEALTH_URL", "http://user@x/"),
            ("PGW_HEALTH_INTERVAL", "30"),
            ("PGW_HEALTH_TIMEOUT", "0s"),
            ("PGW_HEALTH_FAILURES", "0"),
            ("PGW_SNI_LOG", "all"),
            ("PGW_DNS", "off"),
            ("PGW_DNS_RESOLVERS", "https://dns.example/dns-query"),
            ("PGW_DNS_RESOLVERS", "tcp://9.9.9.9:53,9.9.9.9"),
        ] {
            let mistakes = api(&[(name, value)]).unwrap_err();
            let line = mistakes.to_string();
            assert!(line.contains(name) && line.contains(value) && !line.contains('\n'), "{line}");
            assert_eq!(mistakes.0.len(), 1, "{line}");
        }
        for (name, value) in [
            ("PGW_LAN_IF", "a\" drop"),
            ("PGW_LAN_IF", "sixteen-letters-"),
            ("PGW_WAN_IF", "ens19"),
            ("PGW_UNREGISTERED", "maybe"),
            ("PGW_CLOSED_ACTION", "accept"),
            ("PGW_DNS", "resolver"),
        ] {
            assert!(agent(&[(name, value)]).unwrap_err().to_string().contains(name), "{name}={value}");
        }
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let mistakes = api(&[("PGW_UNITS", "x"), ("PGW_SNI_LOG", "y"), ("PGW_API_LISTEN", "z")]).unwrap_err();
        assert_eq!(mistakes.0.len(), 3);
    }

    #[test]
    fn a_short_admin_token_is_refused_and_never_shown() {
        let line = api(&[("PGW_ADMIN_TOKEN", "hunter2")]).unwrap_err().to_string();
        assert!(line.contains("PGW_ADMIN_TOKEN") && !line.contains("hunter2"), "{line}");
        let long = api(&[("PGW_ADMIN_TOKEN", "0123456789abcdef")]).unwrap();
        assert!(!format!("{long:?}").contains("0123456789abcdef"));
    }

    #[test]
    fn an_empty_setting_counts_as_not_set() {
        assert_eq!(api(&[("PGW_UNITS", ""), ("PGW_ADMIN_TOKEN", " ")]).unwrap().units, UnitsChoice::Auto);
    }

    #[test]
    fn urls_are_read_into_what_is_dialled() {
        for (text, want) in [
            ("http://h", Some((false, "h", 80, "/"))),
            ("https://h/x?y=1", Some((true, "h", 443, "/x?y=1"))),
            ("http://h:81?q", Some((false, "h", 81, "/?q"))),
            ("http://[::1]:81/", Some((false, "::1", 81, "/"))),
            ("http://[::1]", Some((false, "::1", 80, "/"))),
            ("http://h:0", None),
            ("http://", None),
            ("http://h/a b", None),
            ("h:80", None),
        ] {
            let got = HttpUrl::parse(text);
            let got = got.as_ref().map(|u| (u.tls, u.host.as_str(), u.port, u.path.as_str()));
            assert_eq!(got, want, "{text:?}");
        }
    }
}
