//! What this gateway is called among those that share its database.

use std::io;
use std::path::{Path, PathBuf};

use pgw_core::files;
use pgw_core::resources::host_name;
use pgw_core::settings::{DatabaseUrl, GATEWAY_ALLOWED, is_gateway_name};

#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    #[error("PGW_GATEWAY is not set, and the host's name cannot be read: {0}")]
    Unknown(#[source] io::Error),
    #[error(
        "PGW_GATEWAY is not set, and the host's name {0:?} cannot be used in its place: {GATEWAY_ALLOWED}"
    )]
    Unusable(String),
    #[error(
        "PGW_GATEWAY={set:?}, but this gateway was {was:?} until now, and the clients of {was:?} would be nobody's; \
         set it back, or remove {file} if this machine is to be another gateway"
    )]
    Renamed { set: String, was: String, file: PathBuf },
    #[error("{file} cannot be used: {source}")]
    File { file: PathBuf, source: io::Error },
}

fn file(state_dir: &Path) -> PathBuf {
    state_dir.join("gateway")
}

/// What the operator says, what it was called before, or the host's own name. With other gateways
/// on the same database it keeps the name that it has: under another one it would find no
/// clients, and let go of the devices that it holds.
pub fn name(set: Option<&str>, state_dir: &Path, database: &DatabaseUrl) -> Result<String, GatewayError> {
    match (set, kept(state_dir)?) {
        (Some(set), Some(was)) if set != was && matches!(database, DatabaseUrl::Postgres(_)) => {
            Err(GatewayError::Renamed { set: set.to_owned(), was, file: file(state_dir) })
        }
        (Some(set), _) => Ok(set.to_owned()),
        (None, Some(was)) => Ok(was),
        (None, None) => own_host(),
    }
}

/// Once the database has taken it under this name.
pub fn keep(name: &str, state_dir: &Path) -> Result<(), GatewayError> {
    if kept(state_dir)?.as_deref() == Some(name) {
        return Ok(());
    }
    let file = file(state_dir);
    let text = format!("{name}\n");
    files::replace(&file, 0o600, text.as_bytes()).map_err(|source| GatewayError::File { file, source })
}

fn kept(state_dir: &Path) -> Result<Option<String>, GatewayError> {
    let file = file(state_dir);
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(GatewayError::File { file, source }),
    };
    let name = text.trim();
    if is_gateway_name(name) {
        return Ok(Some(name.to_owned()));
    }
    let source = io::Error::other(format!("it should hold the gateway's name, {GATEWAY_ALLOWED}"));
    Err(GatewayError::File { file, source })
}

fn own_host() -> Result<String, GatewayError> {
    let host = host_name().map_err(GatewayError::Unknown)?;
    if is_gateway_name(&host) { Ok(host) } else { Err(GatewayError::Unusable(host)) }
}

#[cfg(test)]
mod tests {
    use pgw_core::redact::Secret;

    use super::*;

    #[test]
    fn a_gateway_keeps_its_name_whatever_its_host_is_called_later() {
        let dir = tempfile::tempdir().unwrap();
        let file = DatabaseUrl::Sqlite("/srv/pgw.db".into());
        let server = DatabaseUrl::Postgres(Secret::new("postgres://db/pgw"));
        let name = |set, database| name(set, dir.path(), database);
        assert_eq!(name(Some("gw1"), &server).unwrap(), "gw1");
        assert_eq!(name(Some("gw2"), &server).unwrap(), "gw2", "nothing was kept yet");
        keep("gw1", dir.path()).unwrap();
        for database in [&file, &server] {
            assert_eq!(name(None, database).unwrap(), "gw1");
            assert_eq!(name(Some("gw1"), database).unwrap(), "gw1");
        }
        let refused = name(Some("gw2"), &server).unwrap_err();
        assert!(matches!(refused, GatewayError::Renamed { .. }), "{refused}");
        assert_eq!(name(Some("gw2"), &file).unwrap(), "gw2", "a file has one gateway, whatever it is called");
        std::fs::write(dir.path().join("gateway"), "two words\n").unwrap();
        assert!(name(None, &file).unwrap_err().to_string().contains("gateway cannot be used"));
    }
}
