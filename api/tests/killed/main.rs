//! The API is killed at random moments while many write to it (G18). Afterwards what it answered is in the
//! database, what it did not is there whole or not at all, and no port belongs to two devices.
//! `PGW_SEED=<number>` repeats a run, as far as a clock can be repeated.
#![expect(clippy::unwrap_used, reason = "a failed helper fails its test")]
#![expect(clippy::panic, reason = "a failed helper fails its test")]

mod api;
mod book;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pgw_api::store::open::{Opening, open};
use pgw_api::store::{Store, StoreError};
use pgw_core::redact::Secret;
use pgw_core::settings::DatabaseUrl;
use pgw_lab::postgres::Postgres;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sqlx::{Connection as _, SqliteConnection};

use api::Api;
use book::{Book, Fate};

/// For each of the databases.
const LONG_ENOUGH: Duration = Duration::from_secs(8);
const AT_LEAST: usize = 3;
const WRITERS: u64 = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g18_sqlite_is_whole_wherever_the_api_was_killed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pgw.db");
    killed_again_and_again(dir.path(), &DatabaseUrl::Sqlite(path.clone())).await;
    let mut db = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    let whole: String = sqlx::query_scalar("pragma integrity_check").fetch_one(&mut db).await.unwrap();
    assert_eq!(whole, "ok");
    let broken = sqlx::query("pragma foreign_key_check").fetch_all(&mut db).await.unwrap();
    assert!(broken.is_empty(), "{} rows refer to nothing", broken.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g18_postgresql_is_whole_wherever_the_api_was_killed() {
    let (dir, server) = (tempfile::tempdir().unwrap(), Postgres::start().unwrap());
    let database = server.database().unwrap();
    killed_again_and_again(dir.path(), &DatabaseUrl::Postgres(Secret::new(database.url()))).await;
}

async fn killed_again_and_again(dir: &std::path::Path, url: &DatabaseUrl) {
    let seed = std::env::var("PGW_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("PGW_SEED={seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let book = Arc::new(Book::default());
    let (began, mut kills) = (Instant::now(), 0);
    while began.elapsed() < LONG_ENOUGH || kills < AT_LEAST {
        let mut api = Api::start(dir, url).await;
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                let (book, operator, seed) = (book.clone(), api.operator(), dice.random());
                tokio::spawn(async move { book.write_until_nobody_answers(&operator, seed).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(dice.random_range(20..700))).await;
        api.kill().await;
        for writer in writers {
            writer.await.unwrap();
        }
        kills += 1;
        let opening = Opening::new("gw1", &dir.join("secret.key"));
        holds(open(url, &opening).await.unwrap().as_ref(), &book).await;
    }
    let answered = book.answered();
    eprintln!("{kills} kills, {answered} writes that were answered");
    assert!(answered > kills * 5, "there was too little to be killed: {answered}");
}

/// Everything that the API has said is so.
async fn holds(store: &dyn Store, book: &Book) {
    for (id, fate) in book.proxies() {
        is(&format!("proxy {id}"), fate, store.proxy(id).await);
    }
    for (id, fate) in book.clients() {
        is(&format!("client {id}"), fate, store.client(id).await);
    }
    for (id, fate) in book.mappings() {
        is(&format!("mapping {id}"), fate, store.mapping(id).await);
    }
    let mut ports = BTreeSet::new();
    for plan in store.plans().await.unwrap() {
        let client = &plan.client;
        assert_eq!(plan.port.is_some(), !plan.routes.is_empty(), "half of a mapping: {plan:?}");
        assert!(plan.port.is_none_or(|port| ports.insert(port)), "port {:?} twice", plan.port);
        for route in &plan.routes {
            assert_eq!(Some(route.mapping.port), plan.port, "{client:?}");
        }
    }
}

fn is<T: std::fmt::Debug>(what: &str, fate: Fate, found: Result<T, StoreError>) {
    match (fate, found) {
        (Fate::There | Fate::Unknown, Ok(_)) => {}
        (Fate::Gone | Fate::Unknown, Err(StoreError::NotFound(_))) => {}
        (fate, found) => panic!("{what} should be {fate:?}: {found:?}"),
    }
}
