//! The document between the API and a forwarder: `PGW_STATE_DIR/ports/<port>`. It is the
//! forwarder's whole configuration, so that a forwarder starts and runs without the API.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::dns::{DnsChoice, Resolver};
use crate::ids::{ClientId, ClientIp, MappingId};
use crate::mapping::Target;
use crate::proxy::Upstream;
use crate::redact::SniLog;

pub const FLAG_VERSION: u32 = 1;
/// `PGW_WARM=on`.
pub const USUAL_WARM: u8 = 8;
/// An upstream is somebody's machine, too.
pub const MOST_WARM: u8 = 64;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlagFile {
    pub version: u32,
    /// New with every change. The forwarder tells which one it has loaded.
    pub revision: Uuid,
    pub port: u16,
    pub client: FlagClient,
    /// In the order in which they are tried.
    pub upstreams: Vec<FlagUpstream>,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub sni_log: SniLog,
    /// Absent: this forwarder answers no DNS questions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<FlagDns>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlagDns {
    /// In the order in which they are asked, through the upstreams above.
    pub resolvers: Vec<Resolver>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlagClient {
    pub id: ClientId,
    pub name: String,
    /// A connection from any other address is refused: a port that changes hands must never
    /// carry the former device's traffic.
    pub ip_cidr: ClientIp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlagUpstream {
    pub mapping_id: MappingId,
    pub target: Target,
    pub upstream: Upstream,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// For one upstream, from the first packet to the tunnel.
    pub connect_timeout_ms: u64,
    pub idle_timeout_s: u64,
    pub max_connections: u32,
    /// How long `target: hostname` waits for a name.
    pub peek_ms: u64,
    /// How long a stopping forwarder lets open connections finish.
    pub drain_s: u64,
    /// How many connections to one upstream may wait, made ready for the next request. Left
    /// out when it is the default: a forwarder from before it reads the rest.
    #[serde(skip_serializing_if = "is_usual_warm")]
    pub warm: u8,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_timeout_ms: 5_000,
            idle_timeout_s: 7_200,
            max_connections: 8_192,
            peek_ms: 250,
            drain_s: 10,
            warm: USUAL_WARM,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_usual_warm(warm: &u8) -> bool {
    *warm == USUAL_WARM
}

#[derive(Debug, thiserror::Error)]
pub enum FlagError {
    #[error("is not a flag file: {0}")]
    Json(String),
    #[error("is of version {0}; this program reads version {FLAG_VERSION}")]
    Version(u32),
    #[error("is for port {found}, not {wanted}")]
    Port { found: u16, wanted: u16 },
}

impl From<serde_json::Error> for FlagError {
    fn from(error: serde_json::Error) -> Self {
        // The library would quote what stands there, which may be a password in a wrong place.
        Self::Json(if error.is_data() {
            let (line, column) = (error.line(), error.column());
            format!("a field is missing, unknown or of another kind at line {line} column {column}")
        } else {
            error.to_string()
        })
    }
}

impl FlagDns {
    /// What a forwarder is told when the operator chose this.
    pub fn of(choice: DnsChoice, resolvers: &[Resolver]) -> Option<Self> {
        match choice {
            DnsChoice::Upstream => Some(Self { resolvers: resolvers.to_vec() }),
            DnsChoice::Gateway => None,
        }
    }
}

impl FlagFile {
    pub fn read(text: &[u8], port: u16) -> Result<Self, FlagError> {
        /// A later version may hold other fields: look at the number first.
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = serde_json::from_slice(text)?;
        if version != FLAG_VERSION {
            return Err(FlagError::Version(version));
        }
        let flag: Self = serde_json::from_slice(text)?;
        if flag.port != port {
            return Err(FlagError::Port { found: flag.port, wanted: port });
        }
        Ok(flag)
    }

    /// The same configuration, whatever its revision?
    pub fn same_but_for_revision(&self, other: &Self) -> bool {
        *self == Self { revision: self.revision, ..other.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) const GOLDEN: &str = include_str!("../tests/golden/flag.json");

    #[test]
    fn the_golden_flag_file_is_read_and_written_back_the_same() {
        let flag = FlagFile::read(GOLDEN.as_bytes(), 15001).unwrap();
        assert_eq!(flag.upstreams.len(), 2);
        let written = serde_json::to_string_pretty(&flag).unwrap();
        assert_eq!(written.trim(), GOLDEN.trim());
    }

    #[test]
    fn a_flag_file_from_before_dns_is_read_and_serves_none() {
        let mut before: serde_json::Value = serde_json::from_str(GOLDEN).unwrap();
        assert!(before.as_object_mut().unwrap().remove("dns").is_some());
        let flag = FlagFile::read(before.to_string().as_bytes(), 15001).unwrap();
        assert_eq!(flag.dns, None);
        assert_eq!(serde_json::to_value(&flag).unwrap(), before);
    }

    #[test]
    fn a_forwarder_from_before_reads_what_is_as_usual() {
        let usual = FlagFile::read(GOLDEN.as_bytes(), 15001).unwrap();
        assert_eq!(usual.limits.warm, USUAL_WARM);
        assert!(!serde_json::to_string(&usual).unwrap().contains("warm"));
        let limits = Limits { warm: 0, ..usual.limits };
        let off = FlagFile { limits, ..usual };
        assert_eq!(FlagFile::read(&serde_json::to_vec(&off).unwrap(), 15001).unwrap(), off);
    }

    #[test]
    fn a_forwarder_is_told_of_resolvers_only_if_it_is_to_answer() {
        let resolvers = Resolver::defaults();
        assert_eq!(FlagDns::of(DnsChoice::Upstream, &resolvers).unwrap().resolvers, resolvers);
        assert_eq!(FlagDns::of(DnsChoice::Gateway, &resolvers), None);
    }

    #[test]
    fn a_flag_file_of_another_version_port_or_shape_is_refused() {
        let edit = |from: &str, to: &str| GOLDEN.replacen(from, to, 1).into_bytes();
        assert!(matches!(
            FlagFile::read(GOLDEN.as_bytes(), 15002),
            Err(FlagError::Port { found: 15001, wanted: 15002 })
        ));
        let newer = edit("\"version\": 1", "\"version\": 2, \"more\": 1");
        assert!(matches!(FlagFile::read(&newer, 15001), Err(FlagError::Version(2))));
        let unknown = edit("\"port\": 15001", "\"port\": 15001, \"prot\": 1");
        assert!(matches!(FlagFile::read(&unknown, 15001), Err(FlagError::Json(_))));
        for nonsense in ["", "{}", "[]", "null", "\u{0}", &GOLDEN[..GOLDEN.len() / 2]] {
            assert!(
                matches!(FlagFile::read(nonsense.as_bytes(), 15001), Err(FlagError::Json(_))),
                "{nonsense:?}"
            );
        }
    }

    #[test]
    fn a_debug_print_of_a_flag_file_shows_no_password() {
        let flag = FlagFile::read(GOLDEN.as_bytes(), 15001).unwrap();
        assert!(!format!("{flag:?}").contains("p:a@ss"));
    }

    #[test]
    fn a_flag_file_that_is_refused_is_not_quoted() {
        let from = "\"port\": 1080";
        for (to, want) in [
            ("\"port\": \"p:a@ss\"", "of another kind at line 18 column"),
            ("\"port\": p:a@ss", "expected value at line 18 column"),
        ] {
            let text = GOLDEN.replacen(from, to, 1);
            let told = FlagFile::read(text.as_bytes(), 15001).unwrap_err();
            assert!(told.to_string().contains(want), "{told}");
            assert!(!format!("{told} {told:?}").contains("p:a@ss"), "{told:?}");
        }
    }

    #[test]
    fn only_the_revision_may_differ_between_equal_configurations() {
        let flag = FlagFile::read(GOLDEN.as_bytes(), 15001).unwrap();
        let newer = FlagFile { revision: Uuid::nil(), ..flag.clone() };
        assert!(flag.same_but_for_revision(&newer));
        let other = FlagFile { sni_log: SniLog::Off, ..newer };
        assert!(!flag.same_but_for_revision(&other));
    }
}
