//! What was backed up comes back, from either database into either (G19).

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, LazyLock};

use pgw_core::exit::Expect;
use pgw_core::health::{Health, HealthStatus};
use pgw_core::mapping::Target;
use pgw_core::ports::PortRange;
use pgw_core::proxy::Scheme;
use pgw_lab::postgres::{Database, Postgres};
use serde_json::Value;

use super::*;
use crate::store::open::open;
use crate::store::{ListQuery, NewClient, NewMapping, NewProxy, NewToken, Presence, ProxyPatch, Role, Store};

static SERVER: LazyLock<Postgres> = LazyLock::new(|| Postgres::start().unwrap());

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Sqlite,
    Postgres,
}

const BOTH: [Which; 2] = [Which::Sqlite, Which::Postgres];

/// A gateway's directories and its database.
struct Place {
    dir: tempfile::TempDir,
    _database: Option<Database<'static>>,
    settings: ApiSettings,
}

impl Place {
    fn new(which: Which) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        std::fs::create_dir(&state).unwrap();
        let database = (which == Which::Postgres).then(|| SERVER.database().unwrap());
        let url = database.as_ref().map(Database::url).unwrap_or_default();
        let given =
            [("PGW_STATE_DIR", state.to_str().unwrap()), ("PGW_GATEWAY", "gw1"), ("PGW_DATABASE_URL", &url)];
        let settings = ApiSettings::read(&BTreeMap::from(given)).unwrap();
        Self { dir, _database: database, settings }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("pgw.backup")
    }

    async fn open(&self) -> Arc<dyn Store> {
        self.open_as("gw1").await
    }

    async fn open_as(&self, gateway: &str) -> Arc<dyn Store> {
        open(&self.settings.database_url, &Opening::new(gateway, &self.settings.key_file)).await.unwrap()
    }

    async fn restored(&self, from: &Path) -> Result<Restored, BackupError> {
        restore(&self.settings, from).await
    }

    async fn holds(&self) -> String {
        told(self.open().await.as_ref()).await
    }
}

fn new_proxy(n: u8) -> NewProxy {
    NewProxy {
        name: format!("de{n} \u{1f600} \"quoted\" \\ and 'more'"),
        scheme: Scheme::Socks5,
        host: "proxy.example".parse().unwrap(),
        port: 1080,
        username: Some("bob".into()),
        password: Some(Secret::new(format!("hunter{n}"))),
        enabled: n.is_multiple_of(2),
        note: "two\nlines".into(),
        labels: BTreeMap::from([("country".into(), "de".into())]),
    }
}

fn new_client(n: u8) -> NewClient {
    NewClient {
        name: format!("phone {n}"),
        ip_cidr: format!("192.168.2.{n}").parse().unwrap(),
        mac: (n == 1).then(|| "02:00:5e:10:00:03".parse().unwrap()),
        note: String::new(),
        gateway: None,
    }
}

/// Something in every table of the spine, and something that is going.
async fn fill(store: &dyn Store) {
    let ports = PortRange::spanning(15001, 15999);
    let presence = Presence { version: "1", ports: ports.clone(), started_at: jiff::Timestamp::UNIX_EPOCH };
    store.show_presence(&presence).await.unwrap();
    for n in 1..=4 {
        let proxy_id = store.create_proxy(new_proxy(n)).await.unwrap().id;
        let client_id = store.create_client(new_client(n)).await.unwrap().id;
        let (expect, exclusive) = (Expect { stable: true, ..Expect::default() }, n > 1);
        let new = NewMapping {
            client_id,
            proxy_id,
            priority: 7,
            target: Target::Hostname,
            enabled: n > 1,
            expect,
            exclusive,
        };
        let mapping = store.create_mapping(new, &ports).await.unwrap();
        let found = store.upstream(proxy_id).await.unwrap();
        let health = Health { status: HealthStatus::Ok, latency_ms: Some(20), ..Health::default() };
        store.record_health(&[found.found(health)]).await.unwrap();
        if n == 3 {
            store.remove_mapping(mapping.id, None).await.unwrap();
        }
    }
    let token = NewToken { name: "ci".into(), role: Role::Viewer, hash: [7; 32] };
    store.create_token(token).await.unwrap();
}

/// All that the REST API would say, and what only those who dial are told.
async fn told(store: &dyn Store) -> String {
    let all = ListQuery { limit: 500, ..ListQuery::default() };
    let passwords: Vec<String> = store
        .upstreams()
        .await
        .unwrap()
        .into_iter()
        .filter_map(|dial| Some(dial.upstream.credentials?.password.expose().to_owned()))
        .collect();
    format!(
        "{:#?}\n{:#?}\n{:#?}\n{:#?}\n{:#?}\n{passwords:?}",
        store.proxies(&all).await.unwrap().items,
        store.clients(&all).await.unwrap().items,
        store.mappings(&all).await.unwrap().items,
        store.plans().await.unwrap(),
        store.tokens(&all).await.unwrap().items,
    )
}

/// Rows as they stand in the file, by column, whichever way their database writes JSON.
fn rows(file: &Path) -> Vec<BTreeMap<String, Value>> {
    let text = std::fs::read_to_string(file).unwrap();
    let mut columns = Vec::new();
    let mut rows = Vec::new();
    for line in text.lines().skip(1) {
        match serde_json::from_str(line).unwrap() {
            Value::Array(cells) => {
                let cells =
                    cells.into_iter().map(|cell| match cell.as_str().filter(|text| text.starts_with('{')) {
                        Some(json) => serde_json::from_str(json).unwrap(),
                        None => cell,
                    });
                rows.push(columns.iter().cloned().zip(cells).collect());
            }
            head => {
                let named = head["columns"].as_array().into_iter().flatten();
                columns = named.map(|name| format!("{}.{}", head["table"], name)).collect();
            }
        }
    }
    rows
}

#[tokio::test]
async fn g19_what_was_backed_up_is_restored_into_either_database_with_the_same_answers() {
    for (from, to) in BOTH.into_iter().flat_map(|from| BOTH.map(|to| (from, to))) {
        let (old, new) = (Place::new(from), Place::new(to));
        let store = old.open().await;
        fill(store.as_ref()).await;
        let before = told(store.as_ref()).await;
        assert!(backup(&old.settings, &old.file()).await.unwrap() > 20);
        drop(store);
        let restored = new.restored(&old.file()).await.unwrap();
        assert_eq!(
            (restored.aside.len(), &restored.gateways[..]),
            (0, &["gw1".to_owned()][..]),
            "{from:?} {to:?}"
        );
        assert_eq!(new.holds().await, before, "{from:?} {to:?}");
        backup(&new.settings, &new.file()).await.unwrap();
        assert_eq!(rows(&new.file()), rows(&old.file()), "{from:?} {to:?}");
    }
}

#[tokio::test]
async fn g19_a_backup_under_writes_is_of_one_moment() {
    for which in BOTH {
        let (old, new) = (Place::new(which), Place::new(Which::Sqlite));
        let store = old.open().await;
        fill(store.as_ref()).await;
        let writing = tokio::spawn({
            let store = store.clone();
            async move {
                for n in 10..250 {
                    // The two are one change for nobody but this test: the client is first, always.
                    store.create_client(new_client(n)).await.unwrap();
                    let proxy = NewProxy { name: format!("late {n}"), ..new_proxy(n) };
                    store.create_proxy(proxy).await.unwrap();
                }
            }
        });
        backup(&old.settings, &old.file()).await.unwrap();
        writing.abort();
        new.restored(&old.file()).await.unwrap();
        let all = ListQuery { limit: 500, ..ListQuery::default() };
        let restored = new.open().await;
        let clients = restored.clients(&all).await.unwrap().items.len();
        let proxies = restored.proxies(&all).await.unwrap().items.len();
        assert!(clients >= 4 && (clients == proxies || clients == proxies + 1), "{clients} and {proxies}");
    }
}

#[tokio::test]
async fn a_backup_is_private_whole_or_not_there_and_never_made_over() {
    let place = Place::new(Which::Sqlite);
    fill(place.open().await.as_ref()).await;
    let file = place.file();
    backup(&place.settings, &file).await.unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let before = std::fs::read(&file).unwrap();
    assert!(matches!(backup(&place.settings, &file).await, Err(BackupError::Write { .. })));
    assert_eq!(std::fs::read(&file).unwrap(), before);
    std::fs::remove_file(&place.settings.key_file).unwrap();
    let other = place.dir.path().join("other");
    assert!(matches!(backup(&place.settings, &other).await, Err(BackupError::NoKey(_))));
    let left: Vec<_> =
        std::fs::read_dir(place.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "the state and one backup: {left:?}");
}

#[tokio::test]
async fn what_was_there_before_a_restore_is_kept_and_opens() {
    let (old, place) = (Place::new(Which::Sqlite), Place::new(Which::Sqlite));
    fill(old.open().await.as_ref()).await;
    backup(&old.settings, &old.file()).await.unwrap();
    let store = place.open().await;
    store.create_proxy(new_proxy(9)).await.unwrap();
    let before = told(store.as_ref()).await;
    drop(store);
    // As after a death: the last writes are in the journal beside the database.
    let restored = place.restored(&old.file()).await.unwrap();
    assert_eq!(place.holds().await, old.holds().await);
    let [key, database] = restored.aside.as_slice() else { panic!("{restored:?}") };
    let former = SqliteStore::open(database, &Opening::new("gw1", key)).await.unwrap();
    assert_eq!(told(&former).await, before);
    // Once more, as after a restore that died: it is the same again.
    place.restored(&old.file()).await.unwrap();
    assert_eq!(place.holds().await, old.holds().await);
}

#[tokio::test]
async fn a_file_that_is_not_whole_is_refused_and_nothing_is_touched() {
    let place = Place::new(Which::Sqlite);
    fill(place.open().await.as_ref()).await;
    let file = place.file();
    backup(&place.settings, &file).await.unwrap();
    let before = place.holds().await;
    let good = std::fs::read(&file).unwrap();
    let mut changed = good.clone();
    let at = good.windows(7).position(|window| window == b"phone 2").unwrap();
    changed[at] = b'P';
    let cut = good[..good.len() / 2].to_vec();
    let without_end = good[..good[..good.len() - 1].iter().rposition(|b| *b == b'\n').unwrap() + 1].to_vec();
    let more = [&good[..], b"[null]\n"].concat();
    for damaged in
        [changed, cut, without_end, more, Vec::new(), b"{}\n".to_vec(), b"SQLite format 3\0".to_vec()]
    {
        std::fs::write(&file, &damaged).unwrap();
        let refused = place.restored(&file).await.err();
        let Some(BackupError::Dump(DumpError::Damaged(why))) = &refused else { panic!("{refused:?}") };
        assert!(!why.contains("phone"), "{why}");
    }
    assert_eq!(place.holds().await, before);
}

#[tokio::test]
async fn a_restore_is_refused_where_it_would_take_something_from_somebody() {
    let [old, place] = [Place::new(Which::Postgres), Place::new(Which::Sqlite)];
    let first = old.open().await;
    fill(first.as_ref()).await;
    backup(&old.settings, &old.file()).await.unwrap();

    let running = sole::take(&place.settings.state_dir).unwrap();
    assert!(matches!(place.restored(&old.file()).await, Err(BackupError::Sole(_))), "an API runs");
    drop(running);

    let full = old.restored(&old.file()).await.err();
    assert!(matches!(full, Some(BackupError::Dump(DumpError::NotEmpty))), "{full:?}");
    assert!(told(first.as_ref()).await.contains("phone 1"));

    let second = old.open_as("gw2").await;
    second.create_client(new_client(1)).await.unwrap();
    let file = old.dir.path().join("two");
    backup(&old.settings, &file).await.unwrap();
    let several = place.restored(&file).await.err();
    assert!(matches!(&several, Some(BackupError::Several(names)) if names == "gw1, gw2"), "{several:?}");
    let server = Place::new(Which::Postgres);
    server.restored(&file).await.unwrap();
    let patch = ProxyPatch { note: Some("written".into()), ..ProxyPatch::default() };
    let store = server.open().await;
    let proxy = store.proxies(&ListQuery { limit: 1, ..ListQuery::default() }).await.unwrap().items.remove(0);
    store.update_proxy(proxy.id, patch).await.unwrap();
}

/// G40, of the database.
#[tokio::test]
async fn g40_a_database_is_the_same_wherever_it_is_restored_and_no_other_passes_for_it() {
    for (from, to) in [(Which::Sqlite, Which::Postgres), (Which::Postgres, Which::Sqlite)] {
        let (old, new, other) = (Place::new(from), Place::new(to), Place::new(from));
        let store = old.open().await;
        fill(store.as_ref()).await;
        let was = store.identity();
        let expected = Some(was.id);
        assert!(was.made_at.is_some());
        backup(&old.settings, &old.file()).await.unwrap();
        new.restored(&old.file()).await.unwrap();
        assert_eq!(identity::known(&new.settings.state_dir).unwrap(), expected, "who restores means it");
        let starts = std::cell::Cell::new(1);
        let start = async |place: &Place, expected| {
            // The server may not have noticed yet that the former one is gone.
            starts.set(starts.get() + 1);
            let opening = Opening {
                expected,
                ..Opening::new(&format!("gw{}", starts.get()), &place.settings.key_file)
            };
            open(&place.settings.database_url, &opening).await.map(|store| store.identity())
        };
        for place in [&old, &new] {
            assert_eq!(start(place, expected).await.unwrap(), was, "{from:?} {to:?}");
        }
        // A new one, and one that has been in use.
        let refused = start(&other, expected).await.err();
        match from {
            Which::Sqlite => {
                assert!(matches!(refused, Some(OpenError::Missing { .. })), "{refused:?}");
                assert!(!other.settings.state_dir.join("pgw.db").exists());
            }
            Which::Postgres => assert!(matches!(refused, Some(OpenError::Another)), "{refused:?}"),
        }
        let own = start(&other, None).await.unwrap();
        assert!(own.made_at.is_some() && Some(own.id) != expected, "nothing was written to it");
        let refused = start(&other, expected).await.unwrap_err();
        assert!(matches!(refused, OpenError::Another), "{refused}");
        assert!(refused.to_string().contains("remove the file") && !refused.to_string().contains('\n'));
        assert_eq!(start(&other, None).await.unwrap(), own);
    }
}
