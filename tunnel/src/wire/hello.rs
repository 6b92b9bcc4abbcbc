//! The first words on a connection, and the answer to them. They are read before anything is known
//! of who says them.

use pgw_core::ids::SessionId;
use pgw_core::redact::Secret;
use pgw_core::tunnel::{Filter, Protocol};
use serde::{Deserialize, Serialize};

use super::open::is_host;

/// In one hello.
pub const MOST_PORTS: usize = 256;
/// Of a tunnel's name.
const LONGEST_NAME: usize = 100;

/// What a connection is for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "say")]
pub enum First {
    /// A session begins.
    Hello(Hello),
    /// A session gets one more connection.
    Join(Join),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    pub protocol: u16,
    /// Of the program, for people.
    pub version: String,
    /// As the configuration names it.
    pub client: String,
    #[serde(serialize_with = "Secret::write_out")]
    pub token: Secret,
    /// Makes the token known, once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrol: Option<Code>,
    #[serde(default)]
    pub open_ports: Vec<OpenPort>,
    /// What this client agrees to, so that an operator can see it. It decides itself.
    #[serde(default)]
    pub filter: Filter,
}

/// An enrolment code.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Code(#[serde(serialize_with = "Secret::write_out")] pub Secret);

/// A port that the client asks for; 0 leaves the choice to the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenPort {
    pub remote_port: u16,
    pub protocol: Protocol,
    pub local_host: String,
    pub local_port: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default)]
    pub compression: bool,
    #[serde(default)]
    pub proxy_protocol: bool,
}

impl OpenPort {
    /// Fit to be told to others: an operator will read it.
    pub fn is_fit(&self) -> bool {
        let is_name =
            |name: &str| name.chars().count() <= LONGEST_NAME && !name.chars().any(char::is_control);
        is_host(&self.local_host) && self.name.as_deref().is_none_or(is_name)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Join {
    pub session: SessionId,
    #[serde(serialize_with = "Secret::write_out")]
    pub secret: Secret,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Waits for one visitor at a time.
    Lane,
    /// Carries many.
    Mux,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum Reply {
    Welcome(Welcome),
    Refused(Refusal),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    pub protocol: u16,
    pub session: SessionId,
    /// Shows that a connection which joins is the same client's.
    #[serde(serialize_with = "Secret::write_out")]
    pub secret: Secret,
    /// Connections that this client may keep for visitors.
    pub max_lanes: u32,
    /// The operator's, on top of the client's own.
    pub filter: Filter,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub code: RefusalCode,
    pub detail: String,
}

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// Nobody is told whether it is the name or the token that is wrong.
    WrongToken,
    Disabled,
    TooOld,
    TooNew,
    /// The code is unknown, too old, or was used by another.
    Enrolment,
    Draining,
    /// Malformed, or beyond a bound.
    NotUnderstood,
    /// The gateway cannot, for now.
    Unable,
}

impl RefusalCode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WrongToken => "wrong_token",
            Self::Disabled => "disabled",
            Self::TooOld => "too_old",
            Self::TooNew => "too_new",
            Self::Enrolment => "enrolment",
            Self::Draining => "draining",
            Self::NotUnderstood => "not_understood",
            Self::Unable => "unable",
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Self::WrongToken => "there is no client of this name with this token",
            Self::Disabled => "this client is switched off at the gateway",
            Self::TooOld => "this program is too old for the gateway; fetch the gateway's own",
            Self::TooNew => "this program is newer than the gateway; fetch the gateway's own",
            Self::Enrolment => "the enrolment code is not known, is too old, or was used already",
            Self::Draining => "the gateway is stopping",
            Self::NotUnderstood => "the gateway did not understand",
            Self::Unable => "the gateway cannot let anybody in now",
        }
    }

    /// Will it be another answer later, without anybody's doing?
    pub fn passes(self) -> bool {
        matches!(self, Self::Draining | Self::Unable)
    }
}

impl From<RefusalCode> for Refusal {
    fn from(code: RefusalCode) -> Self {
        Self { code, detail: code.words().to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_golden_words_are_read_and_written_back_the_same() {
        for line in include_str!("../../tests/golden/first.jsonl").lines() {
            let first: First = serde_json::from_str(line).unwrap();
            assert_eq!(serde_json::to_string(&first).unwrap(), line);
            assert!(!format!("{first:?}").contains("hush"), "no secret is printed: {first:?}");
        }
        for line in include_str!("../../tests/golden/reply.jsonl").lines() {
            let reply: Reply = serde_json::from_str(line).unwrap();
            assert_eq!(serde_json::to_string(&reply).unwrap(), line);
        }
    }

    #[test]
    fn a_newer_client_may_say_more_than_is_understood() {
        let text = r#"{"say":"join","session":"0190a000-0000-7000-8000-000000000001","secret":"x","kind":"lane","new":1}"#;
        assert!(matches!(serde_json::from_str(text).unwrap(), First::Join(Join { kind: Kind::Lane, .. })));
    }
}
