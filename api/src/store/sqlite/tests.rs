use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use pgw_core::exit::Expect;
use pgw_core::health::{Health, HealthStatus};
use pgw_core::mapping::Target;
use pgw_core::ports::PortRange;
use sqlx::SqliteConnection;

use super::*;
use crate::store::crypt::KeyError;
use crate::store::open::PATIENCE;
use crate::store::suite::{Fresh, every_store_test, proxy, store_suite};
use crate::store::{NewClient, NewMapping, NewProxy, ProxyPatch, Store as _, StoreError};

every_store_test!(super::fresh);

async fn fresh() -> Fresh {
    let place = tempfile::tempdir().unwrap();
    Fresh { store: Arc::new(open(place.path(), PATIENCE).await.unwrap()), _place: Box::new(place) }
}

fn url(place: &Path) -> String {
    format!("sqlite://{}/pgw.db", place.display())
}

async fn open(place: &Path, patience: Duration) -> Result<SqliteStore, OpenError> {
    let opening = Opening { patience, ..Opening::new("gw1", &place.join("secret.key")) };
    SqliteStore::open(&place.join("pgw.db"), &opening).await
}

async fn raw(place: &Path) -> SqliteConnection {
    SqliteConnection::connect(&url(place)).await.unwrap()
}

#[tokio::test]
async fn the_database_is_private_durable_and_outlives_a_restart() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path(), PATIENCE).await.unwrap();
    let made = store.create_proxy(proxy()).await.unwrap();
    for file in ["pgw.db", "pgw.db-wal", "pgw.db-shm"] {
        let mode = std::fs::metadata(place.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let pragmas: (String, i64, i64) = (
        sqlx::query_scalar("pragma journal_mode").fetch_one(&store.write).await.unwrap(),
        sqlx::query_scalar("pragma synchronous").fetch_one(&store.write).await.unwrap(),
        sqlx::query_scalar("pragma foreign_keys").fetch_one(&store.write).await.unwrap(),
    );
    assert_eq!(pragmas, ("wal".to_owned(), 2, 1));
    let sneaky = sqlx::query("delete from proxies").execute(&store.read).await;
    assert!(sneaky.is_err(), "the read pool cannot write");
    drop(store);
    assert_eq!(open(place.path(), PATIENCE).await.unwrap().proxy(made.id).await.unwrap(), made);
}

#[tokio::test]
async fn no_file_holds_a_password_in_clear() {
    let place = tempfile::tempdir().unwrap();
    open(place.path(), PATIENCE).await.unwrap().create_proxy(proxy()).await.unwrap();
    for entry in std::fs::read_dir(place.path()).unwrap() {
        let path = entry.unwrap().path();
        let content = std::fs::read(&path).unwrap();
        assert!(!content.windows(13).any(|window| window == b"correct horse"), "{}", path.display());
    }
}

#[tokio::test]
async fn a_locked_database_is_unavailable_after_a_bounded_wait_and_nothing_changes() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path(), Duration::from_millis(250)).await.unwrap();
    let made = store.create_proxy(proxy()).await.unwrap();
    let mut other = raw(place.path()).await;
    sqlx::query("begin immediate").execute(&mut other).await.unwrap();
    let patch = ProxyPatch { note: Some("new".into()), ..ProxyPatch::default() };
    for refused in [store.update_proxy(made.id, patch).await.map(drop), store.ping().await] {
        let Err(StoreError::Unavailable { reason, .. }) = refused else { panic!("{refused:?}") };
        assert!(reason.contains("locked"), "{reason}");
    }
    assert_eq!(store.proxy(made.id).await.unwrap(), made, "readers do not wait for a writer");
    sqlx::query("rollback").execute(&mut other).await.unwrap();
    store.ping().await.unwrap();
}

#[tokio::test]
async fn a_full_disk_is_unavailable_says_so_and_nothing_changes() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path(), PATIENCE).await.unwrap();
    let made = store.create_proxy(proxy()).await.unwrap();
    // The same error as that of a full disk: the file may not grow.
    sqlx::query("pragma max_page_count = 1").execute(&store.write).await.unwrap();
    let long = ProxyPatch { note: Some("x".repeat(100_000)), ..ProxyPatch::default() };
    let refused = store.update_proxy(made.id, long).await;
    let Err(StoreError::Unavailable { reason, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(reason, "the disk is full");
    assert_eq!(store.proxy(made.id).await.unwrap(), made);
}

#[tokio::test]
async fn a_transaction_that_the_database_itself_gave_up_spoils_no_later_one() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path(), PATIENCE).await.unwrap();
    // As on a full disk: nothing is left to be rolled back when we would.
    let mut connection = store.write.acquire().await.unwrap();
    let mut given_up = db::begin_write(&mut connection).await.unwrap();
    sqlx::query("rollback").execute(&mut *given_up).await.unwrap();
    drop(given_up);
    drop(connection);
    store.ping().await.unwrap();
    store.create_proxy(proxy()).await.unwrap();
}

#[tokio::test]
async fn a_database_that_cannot_be_used_stops_the_start_with_its_reason() {
    let place = tempfile::tempdir().unwrap();
    let missing = place.path().join("missing");
    assert!(matches!(open(&missing, PATIENCE).await.err(), Some(OpenError::File { .. })));

    drop(open(place.path(), PATIENCE).await.unwrap());
    sqlx::query("update _sqlx_migrations set version = version + 9998")
        .execute(&mut raw(place.path()).await)
        .await
        .unwrap();
    assert!(matches!(open(place.path(), PATIENCE).await.err(), Some(OpenError::Newer { .. })));

    let garbage = tempfile::tempdir().unwrap();
    std::fs::write(garbage.path().join("pgw.db"), "this is no database, whatever it is called").unwrap();
    assert!(matches!(open(garbage.path(), PATIENCE).await.err(), Some(OpenError::Database { .. })));
}

#[tokio::test]
async fn passwords_without_their_key_stop_the_start() {
    let place = tempfile::tempdir().unwrap();
    open(place.path(), PATIENCE).await.unwrap().create_proxy(proxy()).await.unwrap();
    std::fs::remove_file(place.path().join("secret.key")).unwrap();
    assert!(matches!(
        open(place.path(), PATIENCE).await.err(),
        Some(OpenError::Key(KeyError::Missing { .. }))
    ));
    assert!(!place.path().join("secret.key").exists());
}

#[tokio::test]
async fn a_sealed_password_moved_to_another_row_does_not_open() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path(), PATIENCE).await.unwrap();
    store.create_proxy(proxy()).await.unwrap();
    let other = store.create_proxy(NewProxy { name: "de2".into(), password: None, ..proxy() }).await.unwrap();
    sqlx::query("update proxies set password = (select password from proxies where name = 'de1')")
        .execute(&mut raw(place.path()).await)
        .await
        .unwrap();
    assert!(matches!(store.upstream(other.id).await, Err(StoreError::Sealed { .. })));
}

#[tokio::test]
async fn a_gateway_of_another_name_takes_the_file_over_with_all_that_is_in_it() {
    let place = tempfile::tempdir().unwrap();
    let made = {
        let store = open(place.path(), PATIENCE).await.unwrap();
        let made = store.create_proxy(proxy()).await.unwrap();
        let found = store.upstream(made.id).await.unwrap();
        let healthy = Health { status: HealthStatus::Ok, ..Health::default() };
        store.record_health(&[found.found(healthy)]).await.unwrap();
        let client = NewClient {
            name: "tv".into(),
            ip_cidr: "192.168.2.3".parse().unwrap(),
            mac: None,
            note: String::new(),
            gateway: None,
        };
        let client_id = store.create_client(client).await.unwrap().id;
        let mapping = NewMapping {
            client_id,
            proxy_id: made.id,
            priority: 1,
            target: Target::Original,
            enabled: true,
            expect: Expect::default(),
            exclusive: false,
        };
        store.create_mapping(mapping, &PortRange::spanning(15001, 15001)).await.unwrap();
        store.proxy(made.id).await.unwrap()
    };
    let opening = Opening::new("gw9", &place.path().join("secret.key"));
    let store = SqliteStore::open(&place.path().join("pgw.db"), &opening).await.unwrap();
    let plans = store.plans().await.unwrap();
    assert_eq!((plans[0].client.gateway.as_str(), plans[0].port), ("gw9", Some(15001)));
    assert_eq!(store.proxy(made.id).await.unwrap(), made, "its health, too: a restart closes nobody");
}

#[tokio::test]
async fn a_file_from_before_there_were_gateways_keeps_everything() {
    let place = tempfile::tempdir().unwrap();
    let mut db = SqliteConnection::connect(&format!("{}?mode=rwc", url(place.path()))).await.unwrap();
    let early =
        Migrator { migrations: TABLES.migrations.iter().take(2).cloned().collect(), ..Migrator::DEFAULT };
    early.run(&mut db).await.unwrap();
    for row in [
        "insert into proxies values (zeroblob(16), 'de1', 'http', 'h', 1, null, null, 1, '', '{}', 4,
            'OK', 20, '203.0.113.9', '2026-11-20T10:00:00Z', null, '2026-11-20T10:00:00Z', '2026-11-20T10:00:00Z', null)",
        "insert into clients values (zeroblob(16), 'tv', '192.168.2.3/32', '', '2026-11-20T10:00:00Z',
            '2026-11-20T10:00:00Z', null, null)",
        "insert into ports values (15007, zeroblob(16))",
        "insert into mappings values (zeroblob(16), zeroblob(16), zeroblob(16), 1, 'original', 1, 'APPLIED', 'open',
            '2026-11-20T10:00:00Z', '2026-11-20T10:00:00Z', '2026-11-20T10:00:00Z', null)",
    ] {
        sqlx::query(row).execute(&mut db).await.unwrap();
    }
    db.close().await.unwrap();
    let store = open(place.path(), PATIENCE).await.unwrap();
    let plan = store.plans().await.unwrap().remove(0);
    assert_eq!((plan.port, plan.client.gateway.as_str()), (Some(15007), "gw1"));
    let route = &plan.routes[0];
    assert_eq!((route.proxy.health.status, route.proxy.revision), (HealthStatus::Ok, 4));
    assert_eq!(route.mapping.reason, "open");
}
