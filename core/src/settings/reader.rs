//! How a setting is read from its text, kind by kind.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{HttpUrl, Mistake, Mistakes, Source, parse_duration};
use crate::log::LogLevels;
use crate::ports::PortRange;

/// Below it are services of other programs, and what redirects and rules of the gateway stand on.
const LOWEST_OF_A_RANGE: u16 = 1024;
/// Of the API, the UI and the agent, and of the tunnels' daemon.
const USUAL_OWN_PORTS: [u16; 5] = [8080, 8081, 9090, 8443, 8444];
const OWN_LISTENERS: [&str; 5] =
    ["PGW_API_LISTEN", "PGW_AGENT_LISTEN", "PGW_UI_LISTEN", "PGW_TUNNEL_LISTEN", "PGW_TUNNEL_HEALTH_LISTEN"];
const OWN_PORTS_ALLOWED: &str = "a range without the gateway's own ports: those of PGW_API_LISTEN, PGW_AGENT_LISTEN, \
    PGW_UI_LISTEN, PGW_TUNNEL_LISTEN and PGW_TUNNEL_HEALTH_LISTEN, and 8080, 8081, 9090, 8443 and 8444";

/// Reads settings and remembers every mistake.
pub(super) struct Reader<'a> {
    source: &'a dyn Source,
    mistakes: Vec<Mistake>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a dyn Source) -> Self {
        Self { source, mistakes: Vec::new() }
    }

    /// An empty value counts as not set, as an env file's `NAME=` is meant.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.source.get(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty())
    }

    pub(super) fn read<T>(
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

    pub(super) fn mistake(&mut self, name: &'static str, value: String, allowed: &'static str) {
        self.mistakes.push(Mistake { name, value, allowed });
    }

    pub(super) fn listen(&mut self, name: &'static str, default: SocketAddr) -> SocketAddr {
        self.read(name, default, "an address and port, such as 127.0.0.1:8080", |v| v.parse().ok())
    }

    pub(super) fn log(&mut self) -> LogLevels {
        self.read("PGW_LOG", LogLevels::default(), LogLevels::ALLOWED, LogLevels::parse)
    }

    pub(super) fn dir(&mut self, name: &'static str, default: &str) -> PathBuf {
        self.read(name, PathBuf::from(default), "an absolute path", |v| {
            Some(PathBuf::from(v)).filter(|path| path.is_absolute())
        })
    }

    pub(super) fn duration(&mut self, name: &'static str, default: Duration) -> Duration {
        self.read(name, default, "a time such as 500ms, 30s, 5m or 1h, more than nothing", parse_duration)
    }

    pub(super) fn base_url(&mut self, name: &'static str, default: &str) -> String {
        self.read(name, default.to_owned(), "a URL such as http://127.0.0.1:8080, with no path", |v| {
            let v = v.strip_suffix('/').unwrap_or(v);
            HttpUrl::parse(v).filter(|url| url.path == "/" && !v.ends_with('/')).map(|_url| v.to_owned())
        })
    }

    pub(super) fn interface(&mut self, name: &'static str, default: &str) -> String {
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

    pub(super) fn ports(&mut self) -> PortRange {
        let (base, max) = (("PGW_FWD_BASE_PORT", 15001), ("PGW_FWD_MAX_PORT", 15999));
        let range = self.span(base, max, "not below PGW_FWD_BASE_PORT");
        // Nothing else is let in there. Tunnels only leave out what somebody listens on.
        if let Some(own) = self.own_ports().into_iter().find(|own| range.contains(*own)) {
            let said = format!("{}..{}, which holds {own}", range.base(), range.max());
            self.mistake(base.0, said, OWN_PORTS_ALLOWED);
        }
        range
    }

    /// A range of ports by its first and its last, each with its name and what it is if not set.
    pub(super) fn span(
        &mut self,
        (first, base): (&'static str, u16),
        (last, max): (&'static str, u16),
        not_below: &'static str,
    ) -> PortRange {
        let number = "a port from 1024 to 65535";
        let port = |v: &str| v.parse::<u16>().ok().filter(|p| *p >= LOWEST_OF_A_RANGE);
        let base = self.read(first, base, number, port);
        let max = self.read(last, max, number, port);
        let range = PortRange::spanning(base, max);
        if base > max {
            self.mistake(last, max.to_string(), not_below);
        }
        range
    }

    /// As they are usually, which other programs may have it, and as this one's settings say. What is
    /// mistyped is told where it is read.
    fn own_ports(&self) -> BTreeSet<u16> {
        let set = OWN_LISTENERS.into_iter().filter_map(|name| self.text(name)?.parse::<SocketAddr>().ok());
        USUAL_OWN_PORTS.into_iter().chain(set.map(|listen| listen.port())).collect()
    }

    pub(super) fn finish<T>(self, settings: T) -> Result<T, Mistakes> {
        if self.mistakes.is_empty() { Ok(settings) } else { Err(Mistakes(self.mistakes)) }
    }
}
