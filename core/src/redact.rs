//! Secrets that cannot be printed, and names fit for a log.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

/// A secret. It prints as `***`, compares like its text and is wiped when dropped. It can be
/// read from a document, but written to one only where a field says
/// `#[serde(serialize_with = "Secret::write_out")]`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself. Each caller is a place to look at.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn write_out<S: Serializer>(secret: &Self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(secret.expose())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// `PGW_SNI_LOG`: how much of a name a log line holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SniLog {
    Off,
    #[default]
    Redacted,
    Full,
}

/// What a log may say of a name: `mail.alice.example.co.uk` becomes `*.example.co.uk`; an
/// address, or a name without a registrable domain, becomes `-`.
pub fn name_for_log(policy: SniLog, name: Option<&str>) -> String {
    match (policy, name) {
        (SniLog::Off, _) | (_, None) => "-".to_owned(),
        (SniLog::Full, Some(name)) => name.to_owned(),
        (SniLog::Redacted, Some(name)) => redacted(name),
    }
}

fn redacted(name: &str) -> String {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    if name.parse::<std::net::IpAddr>().is_ok() {
        return "-".to_owned();
    }
    // `alices-phone.lan`: where nobody registers names, a name is somebody's own word.
    if !psl::suffix(name.as_bytes()).is_some_and(|suffix| suffix.is_known()) {
        return "-".to_owned();
    }
    let Some(domain) = psl::domain_str(&name) else {
        return "-".to_owned();
    };
    // Below a provider's suffix (`alice.github.io`) the registrable label is a person.
    match psl::suffix_str(&name) {
        Some(suffix)
            if psl::suffix(suffix.as_bytes()).is_some_and(|s| s.typ() == Some(psl::Type::Private)) =>
        {
            format!("*.{suffix}")
        }
        Some(_) | None if domain == name => name,
        Some(_) | None => format!("*.{domain}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redacted_name_keeps_the_registrable_domain_only() {
        for (name, want) in [
            ("mail.alice.example.co.uk", "*.example.co.uk"),
            ("example.co.uk", "example.co.uk"),
            ("EXAMPLE.com.", "example.com"),
            ("a.b.c.example.com", "*.example.com"),
            ("alice.github.io", "*.github.io"),
            ("www.alice.github.io", "*.github.io"),
            ("co.uk", "-"),
            ("localhost", "-"),
            ("alices-phone.lan", "-"),
            ("nas.alice.home", "-"),
            ("alices-nas.local", "-"),
            ("10.0.0.1", "-"),
            ("", "-"),
        ] {
            assert_eq!(name_for_log(SniLog::Redacted, Some(name)), want, "{name:?}");
        }
    }

    #[test]
    fn the_policy_decides_how_much_is_said() {
        assert_eq!(name_for_log(SniLog::Off, Some("a.example.com")), "-");
        assert_eq!(name_for_log(SniLog::Full, Some("a.example.com")), "a.example.com");
        assert_eq!(name_for_log(SniLog::Full, None), "-");
    }

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?} {secret:#?}"), "*** ***");
        assert_eq!(secret.expose(), "hunter2");
    }
}
