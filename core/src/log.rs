//! `PGW_LOG`: how much the programs tell, and how. Everything goes to stderr, where systemd and
//! containers look for it.

use std::fmt;
use std::io;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry};

mod json;

pub use json::JsonLines;

/// A level, levels of single targets, or both: `warn,pgw_api=debug`.
#[derive(Clone, PartialEq)]
pub struct LogLevels(Targets);

impl LogLevels {
    pub const ALLOWED: &str =
        "off, error, warn, info, debug or trace, also for one target as in info,pgw_api=debug";

    /// Stricter than the library, which takes a mistyped level for the name of a target and is
    /// silent about everything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut levels = Targets::new().with_default(LevelFilter::INFO);
        for part in text.split(',').map(str::trim) {
            levels = match part.split_once('=') {
                None => levels.with_default(level(part)?),
                Some((target, at)) => levels.with_target(known_form(target.trim())?, level(at.trim())?),
            };
        }
        Some(Self(levels))
    }

    /// Lines for people. What is logged before this, and a second call, is lost on nobody: the
    /// first subscriber stays.
    pub fn start(self) {
        let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
        let _first_stays = Registry::default().with(lines.with_filter(self.0)).try_init();
    }

    /// Lines for programs; otherwise as above.
    pub fn start_json(self) {
        let _first_stays = tracing::subscriber::set_global_default(JsonLines::new(self, io::stderr));
    }
}

impl Default for LogLevels {
    fn default() -> Self {
        Self(Targets::new().with_default(LevelFilter::INFO))
    }
}

impl fmt::Debug for LogLevels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

fn level(name: &str) -> Option<LevelFilter> {
    let named = ["off", "error", "warn", "info", "debug", "trace"];
    named.iter().any(|known| known.eq_ignore_ascii_case(name)).then(|| name.parse().ok())?
}

/// Targets are module paths.
fn known_form(target: &str) -> Option<&str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    (!target.is_empty() && target.chars().all(fits)).then_some(target)
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::filter::LevelFilter as L;

    use super::*;

    #[test]
    fn levels_are_read_and_what_is_not_named_is_at_info() {
        for (text, pgw_api, others) in [
            ("debug", L::DEBUG, L::DEBUG),
            ("WARN", L::WARN, L::WARN),
            ("off", L::OFF, L::OFF),
            ("warn,pgw_api=debug", L::DEBUG, L::WARN),
            (" pgw_api::http = trace , error ", L::ERROR, L::ERROR),
            ("pgw_api=off", L::OFF, L::INFO),
        ] {
            let levels = LogLevels::parse(text).unwrap().0;
            for (target, want) in [("pgw_api", pgw_api), ("hyper", others)] {
                for level in
                    [tracing::Level::ERROR, tracing::Level::WARN, tracing::Level::INFO, tracing::Level::DEBUG]
                {
                    assert_eq!(levels.would_enable(target, &level), want >= level, "{text} {target} {level}");
                }
            }
        }
    }

    #[test]
    fn a_mistyped_level_is_refused_and_never_means_silence() {
        for text in ["inf", "banana", "", "info,", "pgw_api=loud", "=debug", "pgw api=debug", "3"] {
            assert_eq!(LogLevels::parse(text), None, "{text}");
        }
    }
}
