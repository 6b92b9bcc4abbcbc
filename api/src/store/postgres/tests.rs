mod several;

use std::sync::{Arc, LazyLock};

use pgw_lab::postgres::{Database, Postgres};
use sqlx::{Connection as _, PgConnection};

use super::*;
use crate::store::crypt::KeyError;
use crate::store::open::PATIENCE;
use crate::store::suite::{Fresh, every_store_test, proxy, store_suite};
use crate::store::{ProxyPatch, Store as _, StoreError};

every_store_test!(super::fresh);

/// One for the whole process; it ends with it.
static SERVER: LazyLock<Postgres> = LazyLock::new(|| Postgres::start().unwrap());

struct Place {
    keys: tempfile::TempDir,
    database: Database<'static>,
}

impl Place {
    fn new() -> Self {
        Self { keys: tempfile::tempdir().unwrap(), database: SERVER.database().unwrap() }
    }

    async fn open(&self, patience: Duration) -> Result<PostgresStore, OpenError> {
        self.open_as("gw1", patience).await
    }

    async fn open_as(&self, gateway: &str, patience: Duration) -> Result<PostgresStore, OpenError> {
        let opening = Opening { patience, ..Opening::new(gateway, &self.keys.path().join("secret.key")) };
        PostgresStore::open(&Secret::new(self.database.url()), &opening).await
    }

    async fn raw(&self) -> PgConnection {
        PgConnection::connect(&self.database.url()).await.unwrap()
    }
}

async fn fresh() -> Fresh {
    let place = Place::new();
    Fresh { store: Arc::new(place.open(PATIENCE).await.unwrap()), _place: Box::new(place) }
}

#[tokio::test]
async fn another_gateway_that_writes_for_too_long_makes_it_unavailable_after_a_bounded_wait() {
    let place = Place::new();
    let store = place.open(Duration::from_millis(250)).await.unwrap();
    let made = store.create_proxy(proxy()).await.unwrap();
    let mut other = place.raw().await;
    let writing = db::begin_write(&mut other).await.unwrap();
    let patch = ProxyPatch { note: Some("new".into()), ..ProxyPatch::default() };
    for refused in [store.update_proxy(made.id, patch).await.map(drop), store.ping().await] {
        let Err(StoreError::Unavailable { reason, .. }) = refused else { panic!("{refused:?}") };
        assert!(reason.contains("another gateway"), "{reason}");
    }
    assert_eq!(store.proxy(made.id).await.unwrap(), made, "readers do not wait for a writer");
    writing.rollback().await.unwrap();
    store.ping().await.unwrap();
}

#[tokio::test]
async fn the_read_pool_cannot_write_and_what_is_answered_is_on_the_disk() {
    let place = Place::new();
    let store = place.open(PATIENCE).await.unwrap();
    assert!(sqlx::query("delete from proxies").execute(&store.read).await.is_err());
    let committed: String =
        sqlx::query_scalar("show synchronous_commit").fetch_one(&store.write).await.unwrap();
    assert_eq!(committed, "on");
}

#[tokio::test]
async fn a_database_that_cannot_be_used_stops_the_start_and_its_password_is_not_told() {
    let place = Place::new();
    let opening = Opening::new("gw1", &place.keys.path().join("secret.key"));
    let opening = Opening { patience: Duration::from_millis(200), ..opening };
    for url in [
        "postgres://pgw:hunter2@127.0.0.1:1/pgw".to_owned(),
        "postgres://pgw:hunter2@127.0.0.1:1/pgw?sslmode=whatever".to_owned(),
        place.database.url().replace("/test", "/hunter").replace("pgw@", "pgw:hunter2@"),
    ] {
        let error =
            anyhow::Error::from(PostgresStore::open(&Secret::new(url), &opening).await.err().unwrap());
        let told = format!("{error:#} {error:?}");
        assert!(!told.contains("hunter2"), "{told}");
    }
    drop(place.open(PATIENCE).await.unwrap());
    let newer = sqlx::query("update _sqlx_migrations set version = version + 9998");
    newer.execute(&mut place.raw().await).await.unwrap();
    assert!(matches!(place.open(PATIENCE).await.err(), Some(OpenError::Newer { .. })));
}

#[tokio::test]
async fn passwords_without_their_key_stop_the_start() {
    let place = Place::new();
    place.open(PATIENCE).await.unwrap().create_proxy(proxy()).await.unwrap();
    std::fs::remove_file(place.keys.path().join("secret.key")).unwrap();
    assert!(matches!(place.open(PATIENCE).await.err(), Some(OpenError::Key(KeyError::Missing { .. }))));
}

/// Which is what an operator can do something about; that it took too long is not.
#[tokio::test]
async fn a_server_that_is_not_there_or_lets_nobody_in_is_told_as_what_it_is() {
    // Bound and dropped: nobody listens there.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let place = Place::new();
    let stranger = place.database.url().replace("//pgw@", "//nobody:hunter2@");
    for (url, why) in [(format!("postgres://u:hunter2@{nobody}/pgw"), "refused"), (stranger, "nobody")] {
        let opening = Opening {
            patience: Duration::from_millis(500),
            ..Opening::new("gw1", &place.keys.path().join("secret.key"))
        };
        let refused = PostgresStore::open(&Secret::new(url.as_str()), &opening).await.err().unwrap();
        let told = pgw_core::cause::chain(&refused);
        assert!(told.starts_with("PGW_DATABASE_URL: ") && told.contains(why), "{told}");
        assert!(!told.contains("hunter2") && !told.contains('\n'), "{told}");
    }
}
