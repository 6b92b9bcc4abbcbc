//! Which public port a tunnel may have. The API asks before it writes one down, and the gateway
//! before it binds one: both ask here.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ports::PortRange;

/// Ports from one to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortSpan {
    pub from: u16,
    pub to: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a port from 1 to 65535, or two of them, such as 12010-12020")]
pub struct NotAPortSpan;

/// Why a port is not given; `code` is what programs are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum PortConflict {
    #[error("another tunnel or program has this port, or none is left")]
    PortInUse,
    #[error("this port is outside the tunnels' range, or kept for something else")]
    PortReserved,
    #[error("this client may not have this port")]
    PortNotAllowed,
    #[error("this client has as many tunnels as it may")]
    PortQuota,
}

/// What is known when a port is asked for.
#[derive(Debug, Clone, Copy)]
pub struct PortRules<'a> {
    /// `PGW_TUNNEL_BASE_PORT`..`PGW_TUNNEL_MAX_PORT`.
    pub range: &'a PortRange,
    /// The forwarders' range, and what else is kept.
    pub reserved: &'a [PortSpan],
    /// By tunnels and by other programs, of the same protocol.
    pub taken: &'a BTreeSet<u16>,
    /// Of this client; nothing means all.
    pub allowed: &'a [PortSpan],
    /// Tunnels that this client has, and may have.
    pub held: u32,
    pub quota: u32,
}

impl PortSpan {
    pub fn contains(self, port: u16) -> bool {
        (self.from..=self.to).contains(&port)
    }
}

/// `12000`, or `12010-12020`.
impl fmt::Display for PortSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        if from == to { write!(f, "{from}") } else { write!(f, "{from}-{to}") }
    }
}

impl FromStr for PortSpan {
    type Err = NotAPortSpan;

    fn from_str(text: &str) -> Result<Self, NotAPortSpan> {
        let port = |text: &str| text.trim().parse().ok().filter(|port| *port > 0).ok_or(NotAPortSpan);
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        let (from, to) = (port(from)?, port(to)?);
        if from <= to { Ok(Self { from, to }) } else { Err(NotAPortSpan) }
    }
}

impl PortConflict {
    pub fn code(self) -> &'static str {
        match self {
            Self::PortInUse => "port_in_use",
            Self::PortReserved => "port_reserved",
            Self::PortNotAllowed => "port_not_allowed",
            Self::PortQuota => "port_quota",
        }
    }
}

impl PortRules<'_> {
    /// What somebody has asked for; 0 leaves the choice to the gateway.
    pub fn give(&self, asked: u16) -> Result<u16, PortConflict> {
        if self.held >= self.quota {
            return Err(PortConflict::PortQuota);
        }
        if asked == 0 { self.lowest() } else { self.judge(asked).map(|()| asked) }
    }

    /// What nobody can change is told first: a port that is free tomorrow is not reserved tomorrow.
    pub fn judge(&self, port: u16) -> Result<(), PortConflict> {
        if !self.range.contains(port) || self.reserved.iter().any(|span| span.contains(port)) {
            Err(PortConflict::PortReserved)
        } else if !self.allowed.is_empty() && !self.allowed.iter().any(|span| span.contains(port)) {
            Err(PortConflict::PortNotAllowed)
        } else if self.taken.contains(&port) {
            Err(PortConflict::PortInUse)
        } else {
            Ok(())
        }
    }

    fn lowest(&self) -> Result<u16, PortConflict> {
        let mut why = PortConflict::PortNotAllowed;
        for port in self.range.base()..=self.range.max() {
            match self.judge(port) {
                Ok(()) => return Ok(port),
                Err(PortConflict::PortInUse) => why = PortConflict::PortInUse,
                Err(PortConflict::PortReserved | PortConflict::PortNotAllowed | PortConflict::PortQuota) => {}
            }
        }
        Err(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_conflict_has_its_code_and_zero_takes_the_lowest_that_is_free() {
        let range = PortRange::spanning(10_000, 10_005);
        let reserved = [PortSpan { from: 10_002, to: 10_003 }];
        let allowed = [PortSpan { from: 10_000, to: 10_004 }];
        let taken = BTreeSet::from([10_000]);
        let rules = PortRules {
            range: &range,
            reserved: &reserved,
            taken: &taken,
            allowed: &allowed,
            held: 1,
            quota: 2,
        };
        for (asked, want) in [
            (0, Ok(10_001)),
            (10_001, Ok(10_001)),
            (10_000, Err("port_in_use")),
            (10_002, Err("port_reserved")),
            (9_999, Err("port_reserved")),
            (32_001, Err("port_reserved")),
            (10_005, Err("port_not_allowed")),
        ] {
            assert_eq!(rules.give(asked).map_err(PortConflict::code), want, "{asked}");
        }
        assert_eq!(PortRules { held: 2, ..rules }.give(10_001), Err(PortConflict::PortQuota));
        let all = (10_000..=10_005).collect();
        assert_eq!(PortRules { taken: &all, ..rules }.give(0), Err(PortConflict::PortInUse));
        let none = [PortSpan { from: 1, to: 2 }];
        assert_eq!(PortRules { allowed: &none, ..rules }.give(0), Err(PortConflict::PortNotAllowed));
    }

    #[test]
    fn a_span_is_written_as_it_is_read() {
        for text in ["12000", "12010-12020", "1-65535"] {
            assert_eq!(text.parse::<PortSpan>().unwrap().to_string(), text);
        }
        for text in ["", "0", "65536", "12020-12010", "1-", "-1", "a", "1-2-3"] {
            text.parse::<PortSpan>().unwrap_err();
        }
    }

    #[test]
    fn what_is_given_is_never_refused_when_asked_for_by_its_number() {
        let range = PortRange::spanning(65_530, 65_535);
        let taken = BTreeSet::from([65_530, 65_531]);
        let rules =
            PortRules { range: &range, reserved: &[], taken: &taken, allowed: &[], held: 0, quota: 1 };
        assert_eq!(rules.give(0).and_then(|port| rules.give(port)), Ok(65_532));
    }
}
