//! Where the truth is kept (`PGW_DATABASE_URL`), whose part of it is whose (`PGW_GATEWAY`), and
//! what opens its secrets (`PGW_KEY_FILE`).

use std::path::{Path, PathBuf};

use super::Reader;
use crate::redact::Secret;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    Sqlite(PathBuf),
    /// The whole URL: it may hold a password.
    Postgres(Secret),
}

impl DatabaseUrl {
    fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("sqlite://") {
            let fits = path.starts_with('/') && path.len() > 1 && !path.contains('?');
            return fits.then(|| Self::Sqlite(path.into()));
        }
        let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"))?;
        let fits = !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Self::Postgres(Secret::new(text)))
    }
}

pub(super) fn read_url(r: &mut Reader<'_>, state_dir: &Path) -> DatabaseUrl {
    let name = "PGW_DATABASE_URL";
    let usual = DatabaseUrl::Sqlite(state_dir.join("pgw.db"));
    let Some(value) = r.text(name) else { return usual };
    DatabaseUrl::parse(&value).unwrap_or_else(|| {
        let allowed = "sqlite:// and an absolute path, or postgres://user:password@host/database";
        r.mistake(name, without_secrets(&value), allowed);
        usual
    })
}

/// A URL that is wrong may hold a password all the same, in its authority or in its query.
fn without_secrets(value: &str) -> String {
    match value.find("://") {
        Some(at) if value.contains(['@', '?']) => format!("{}://***", value.get(..at).unwrap_or_default()),
        None if value.contains(['@', '?']) => "***".to_owned(),
        Some(_) | None => value.to_owned(),
    }
}

pub(super) fn read_gateway(r: &mut Reader<'_>) -> Option<String> {
    r.read("PGW_GATEWAY", None, GATEWAY_ALLOWED, |v| is_gateway_name(v).then(|| Some(v.to_owned())))
}

pub const GATEWAY_ALLOWED: &str = "1 to 64 letters, digits, '.', '_' or '-'";

/// What a gateway may be called: it stands in URLs, logs and labels.
pub fn is_gateway_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

pub(super) fn read_key_file(r: &mut Reader<'_>, state_dir: &Path) -> PathBuf {
    let usual = state_dir.join("secret.key");
    r.read("PGW_KEY_FILE", usual, "an absolute path", |v| {
        Some(PathBuf::from(v)).filter(|path| path.is_absolute())
    })
}
