//! The tokens that exist before anybody has asked for one: the first admin's, and the one by
//! which agent and API know each other.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pgw_core::redact::Secret;
use pgw_core::tunnel::TokenHash;

use crate::http::auth::{Auth, hash};
use crate::secret_file::{self, SecretFileError};
use crate::store::{NewToken, Role, Store, StoreError};

const ADMIN_FILE: &str = "admin.token";
/// The name of the first admin token in the list of tokens.
pub const FIRST_RUN: &str = "first-run";
/// Names that no token made over the API may have: they would pass for somebody else's.
pub const RESERVED_NAMES: [&str; 3] = [FIRST_RUN, "internal", "PGW_ADMIN_TOKEN"];
/// Shorter ones can be guessed, and were not made by us.
const SHORTEST: usize = 16;

#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    #[error(transparent)]
    File(#[from] SecretFileError),
    #[error(
        "{0} does not hold a token: one line of {SHORTEST} or more characters; remove it to get a new one"
    )]
    NotAToken(PathBuf),
    #[error(transparent)]
    Random(#[from] RandomError),
    #[error("the first admin token cannot be stored")]
    Store(#[from] StoreError),
}

#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers: {0}")]
pub struct RandomError(pub getrandom::Error);

/// Where agent and API find the token that they share.
pub fn internal_token_file(state_dir: &Path) -> PathBuf {
    state_dir.join("internal.token")
}

/// Of what is in it, if there is anything.
pub fn internal_hash(state_dir: &Path) -> Result<Option<TokenHash>, CredentialsError> {
    let content = secret_file::read(&internal_token_file(state_dir))?;
    let text = content.as_ref().and_then(|content| std::str::from_utf8(content).ok());
    Ok(text.map(|text| hashed(&Secret::new(text.trim()))))
}

/// 256 random bits, in letters that survive a copy from a terminal.
pub fn random_text() -> Result<Secret, RandomError> {
    let mut bits = zeroize::Zeroizing::new([0; 32]);
    getrandom::fill(bits.as_mut_slice()).map_err(RandomError)?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(bits.as_slice())))
}

/// Random bytes, as hexadecimal digits.
pub fn random_hex<const BYTES: usize>() -> Result<Secret, RandomError> {
    let mut bytes = zeroize::Zeroizing::new([0; BYTES]);
    getrandom::fill(bytes.as_mut_slice()).map_err(RandomError)?;
    Ok(Secret::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}

/// How a token of a tunnel client, or a code, is kept: what is hashed cannot be guessed.
pub fn hashed(secret: &Secret) -> TokenHash {
    TokenHash::of(hash(secret.expose()))
}

/// So that whoever finds one knows what it is of.
pub fn fresh_token() -> Result<Secret, RandomError> {
    Ok(Secret::new(format!("pgw_{}", random_text()?.expose())))
}

/// At every start: makes what is missing, and answers with who may come in.
pub async fn prepare(
    state_dir: &Path,
    store: &dyn Store,
    admin_token: Option<&Secret>,
) -> Result<Auth, CredentialsError> {
    let internal = read_or_make(&internal_token_file(state_dir), 0o640)?;
    if admin_token.is_none() {
        ensure_first_admin(&state_dir.join(ADMIN_FILE), store).await?;
    }
    Ok(Auth::new(admin_token, &internal))
}

/// The file is written before the row: a process that dies in between finds the file again,
/// whereas a row without its token would lock everybody out. Once there was a row the file
/// means nothing more, so a revoked token stays revoked.
async fn ensure_first_admin(path: &Path, store: &dyn Store) -> Result<(), CredentialsError> {
    if store.token_was_made(FIRST_RUN).await? {
        return Ok(());
    }
    let token = read_or_make(path, 0o600)?;
    let new = NewToken { name: FIRST_RUN.to_owned(), role: Role::Admin, hash: hash(token.expose()) };
    store.create_token(new).await?;
    tracing::info!(file = %path.display(), "the first admin token is in this file");
    Ok(())
}

fn read_or_make(path: &Path, mode: u32) -> Result<Secret, CredentialsError> {
    if let Some(content) = secret_file::read(path)? {
        return std::str::from_utf8(&content)
            .ok()
            .map(str::trim)
            .filter(|text| text.len() >= SHORTEST && text.bytes().all(|b| b.is_ascii_graphic()))
            .map(Secret::new)
            .ok_or_else(|| CredentialsError::NotAToken(path.to_owned()));
    }
    let token = fresh_token()?;
    secret_file::create(path, mode, format!("{}\n", token.expose()).as_bytes())?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::store::open::Opening;
    use crate::store::sqlite::SqliteStore;
    use crate::store::{ListQuery, Token};

    async fn store(dir: &Path) -> SqliteStore {
        let opening = Opening::new("gw1", &dir.join("secret.key"));
        SqliteStore::open(&dir.join("pgw.db"), &opening).await.unwrap()
    }

    async fn tokens(store: &dyn Store) -> Vec<Token> {
        store.tokens(&ListQuery { limit: 10, ..ListQuery::default() }).await.unwrap().items
    }

    async fn first_run(store: &dyn Store, dir: &Path) -> Option<Role> {
        let token = fs::read_to_string(dir.join(ADMIN_FILE)).unwrap();
        store.token_by_hash(&hash(token.trim())).await.unwrap().map(|token| token.role)
    }

    #[tokio::test]
    async fn the_first_start_makes_both_tokens_and_later_starts_keep_them() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path()).await;
        prepare(dir.path(), &store, None).await.unwrap();
        let read =
            || ["admin.token", "internal.token"].map(|f| fs::read_to_string(dir.path().join(f)).unwrap());
        let made = read();
        for (name, mode) in [("admin.token", 0o600), ("internal.token", 0o640)] {
            let found = fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
            assert_eq!(found & 0o777, mode, "{name}");
        }
        assert!(made[0].starts_with("pgw_") && made[0].trim().len() == 47, "256 bits and a prefix");
        prepare(dir.path(), &store, None).await.unwrap();
        assert_eq!(read(), made);
        assert_eq!(first_run(&store, dir.path()).await, Some(Role::Admin));
        assert_eq!(tokens(&store).await.len(), 1);
    }

    #[tokio::test]
    async fn a_start_that_died_between_file_and_row_is_made_good() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path()).await;
        fs::write(dir.path().join(ADMIN_FILE), "pgw_written-before-the-crash\n").unwrap();
        prepare(dir.path(), &store, None).await.unwrap();
        assert_eq!(first_run(&store, dir.path()).await, Some(Role::Admin));
    }

    #[tokio::test]
    async fn a_revoked_first_token_stays_revoked_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path()).await;
        prepare(dir.path(), &store, None).await.unwrap();
        let id = tokens(&store).await[0].id;
        store.revoke_token(id).await.unwrap();
        prepare(dir.path(), &store, None).await.unwrap();
        assert_eq!(first_run(&store, dir.path()).await, None);
    }

    #[tokio::test]
    async fn with_a_token_in_the_settings_no_first_token_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path()).await;
        prepare(dir.path(), &store, Some(&Secret::new("from the settings"))).await.unwrap();
        assert!(!dir.path().join(ADMIN_FILE).exists());
        assert!(tokens(&store).await.is_empty());
    }

    #[tokio::test]
    async fn a_damaged_token_file_stops_the_start_and_is_named() {
        for damage in ["", "short\n", "two words of some length\n"] {
            let dir = tempfile::tempdir().unwrap();
            let store = store(dir.path()).await;
            fs::write(internal_token_file(dir.path()), damage).unwrap();
            let error = prepare(dir.path(), &store, None).await.err().unwrap();
            assert!(error.to_string().contains("internal.token"), "{error}");
        }
    }
}
