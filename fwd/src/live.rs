//! What the forwarder carries just now: the counters, and the table of its open connections.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pgw_core::control::{ConnectionsPage, FwdStatus, FwdTraffic, MAX_PAGE};
use pgw_core::flag::FlagFile;
use pgw_core::redact::SniLog;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

use crate::conn::{End, Known, millis};
use crate::ledger::Ledger;

/// An idle connection may live so much longer, and the table is not searched more often.
const GRAIN: Duration = Duration::from_millis(250);

/// After so long a silence a connection sleeps: what it gives back is worth what it costs then to
/// bring it back.
const TIRED: Duration = Duration::from_secs(2);

/// When so many are awake, after a shorter one: what all of them hold at the same moment stays with the
/// process, which can give memory back only where nothing is left in it.
const CROWD: u32 = 500;
const TIRED_OF_A_CROWD: Duration = Duration::from_millis(250);

/// The counters of a forwarder, and its connections by id. The table is locked when one comes or
/// goes and when somebody asks, never while bytes move.
#[derive(Debug)]
pub(crate) struct Live {
    table: Mutex<Table>,
    born: Instant,
    first_id: u64,
    accepted: AtomicU64,
    asleep: AtomicU32,
    pub(crate) refused: AtomicU64,
    pub(crate) bytes_up: AtomicU64,
    pub(crate) bytes_down: AtomicU64,
    draining: watch::Sender<bool>,
    /// When the connections are looked through again, unless it must be sooner.
    next_look: AtomicU64,
    sooner: Notify,
    pub(crate) dns: Questions,
}

/// Behind one lock: each connection is among the open ones, or in the ledger.
#[derive(Debug, Default)]
struct Table {
    open: BTreeMap<u64, Arc<Known>>,
    ledger: Ledger,
}

/// The client's DNS questions since the start.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    pub(crate) questions: AtomicU64,
    pub(crate) from_cache: AtomicU64,
    pub(crate) failed: AtomicU64,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            table: Mutex::default(),
            born: Instant::now(),
            // Whoever closes by an id that the last forwarder gave must not hit somebody else,
            // and there are programs that know whole numbers up to 2^53 only.
            first_id: rand::random_range(0..1 << 52),
            accepted: AtomicU64::new(0),
            asleep: AtomicU32::new(0),
            refused: AtomicU64::new(0),
            bytes_up: AtomicU64::new(0),
            bytes_down: AtomicU64::new(0),
            draining: watch::Sender::new(false),
            next_look: AtomicU64::new(u64::MAX),
            sooner: Notify::new(),
            dns: Questions::default(),
        }
    }
}

impl Live {
    /// Milliseconds since the start.
    pub(crate) fn now(&self) -> u64 {
        millis(self.born.elapsed())
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.first_id + self.accepted.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn enter(&self, known: Arc<Known>) {
        self.table().open.insert(known.id, known);
    }

    pub(crate) fn leave(&self, id: u64) {
        let Table { open, ledger } = &mut *self.table();
        if let Some(ended) = open.remove(&id) {
            ledger.enter(&ended, open);
        }
    }

    pub(crate) fn open(&self) -> u32 {
        u32::try_from(self.table().open.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn get(&self, id: u64) -> Option<Arc<Known>> {
        self.table().open.get(&id).cloned()
    }

    /// Those that shall end.
    pub(crate) fn told(&self) -> Vec<u64> {
        self.table().open.values().filter(|known| known.is_told()).map(|known| known.id).collect()
    }

    pub(crate) fn lies_down(&self) {
        self.asleep.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn gets_up(&self) {
        self.asleep.fetch_sub(1, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn asleep(&self) -> u32 {
        self.asleep.load(Ordering::Relaxed)
    }

    /// How long a silence is before one sleeps.
    pub(crate) fn patience(&self) -> Duration {
        let awake = self.open().saturating_sub(self.asleep.load(Ordering::Relaxed));
        if awake > CROWD { TIRED_OF_A_CROWD } else { TIRED }
    }

    /// Ends one of them; says whether it was open.
    pub(crate) fn close(&self, id: u64) -> bool {
        self.get(id).inspect(|known| known.tell(End::Closed)).is_some()
    }

    pub(crate) fn end_all(&self, end: End) {
        self.table().open.values().for_each(|known| known.tell(end));
    }

    /// Ends what is not allowed any more.
    pub(crate) fn keep_allowed(&self, now: &FlagFile) {
        let table = self.table();
        table.open.values().filter(|known| !known.allowed_by(now)).for_each(|known| known.tell(End::Removed));
    }

    /// Lets those sleep on which nothing moves, and ends them when it was too long; does not
    /// return. One clock for all connections: a timer of its own would cost each of them more
    /// than everything else here.
    pub(crate) async fn watch_silence(&self) -> std::convert::Infallible {
        loop {
            // Who comes while this looks is looked at the next time.
            self.next_look.store(u64::MAX, Ordering::Relaxed);
            let next = self.look_around();
            self.next_look.store(next.unwrap_or(u64::MAX), Ordering::Relaxed);
            let next = async {
                match next {
                    Some(next) => sleep(Duration::from_millis(next.saturating_sub(self.now()))).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = next => {}
                () = self.sooner.notified() => {}
            }
            sleep(GRAIN).await;
        }
    }

    /// Somebody is to be looked at then. An idle forwarder is not woken for nothing.
    pub(crate) fn look_at(&self, then: u64) {
        if then < self.next_look.load(Ordering::Relaxed) {
            self.sooner.notify_one();
        }
    }

    /// Says when the next one's time will come.
    fn look_around(&self) -> Option<u64> {
        let (now, patience) = (self.now(), self.patience());
        let mut next: Option<u64> = None;
        for known in self.table().open.values() {
            match known.idle_until() {
                Some(until) if until <= now => known.tell(End::Idle),
                Some(until) => {
                    let soonest = known.tired_at(now, patience).unwrap_or(until).min(until);
                    next = Some(next.map_or(soonest, |next| next.min(soonest)));
                }
                None => {}
            }
        }
        next
    }

    /// Some of the open connections, those with the least ids above `after`.
    pub(crate) fn page(&self, flag: &FlagFile, after: Option<u64>, limit: Option<u32>) -> ConnectionsPage {
        let limit = usize::try_from(limit.unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE)).unwrap_or(1);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let some: Vec<_> = self
            .table()
            .open
            .range((from, Bound::Unbounded))
            .take(limit + 1)
            .map(|(_, known)| known.clone())
            .collect();
        let more = some.len() > limit;
        let shown = some.get(..limit).unwrap_or(&some);
        ConnectionsPage {
            port: flag.port,
            client: flag.client.name.clone(),
            connections: shown.iter().map(|known| known.row(flag.sni_log)).collect(),
            next: shown.last().filter(|_last| more).map(|known| known.id),
        }
    }

    /// From now on only what is open goes on, and the port is free.
    pub(crate) fn drain(&self) {
        self.draining.send_replace(true);
    }

    pub(crate) async fn is_draining(&self) {
        // It cannot fail: the sender is here.
        let mut draining = self.draining.subscribe();
        let _draining = draining.wait_for(|draining| *draining).await;
    }

    pub(crate) fn status(&self, flag: &FlagFile) -> FwdStatus {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        FwdStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            port: flag.port,
            revision: flag.revision,
            draining: *self.draining.borrow(),
            connections: self.open(),
            accepted: read(&self.accepted),
            refused: read(&self.refused),
            bytes_up: read(&self.bytes_up),
            bytes_down: read(&self.bytes_down),
            dns_questions: read(&self.dns.questions),
            dns_from_cache: read(&self.dns.from_cache),
            dns_failed: read(&self.dns.failed),
        }
    }

    pub(crate) fn traffic(&self, flag: &FlagFile, names: bool, last: bool) -> FwdTraffic {
        let Table { open, ledger } = &*self.table();
        let known = || open.values().map(Arc::as_ref);
        FwdTraffic {
            port: flag.port,
            run: self.first_id,
            client_id: flag.client.id,
            revision: flag.revision,
            draining: *self.draining.borrow(),
            last,
            open: u32::try_from(open.len()).unwrap_or(u32::MAX),
            carried: ledger.carried(known()),
            // Hidden as soon as the operator wants less to be seen.
            names: if names && flag.sni_log != SniLog::Off { ledger.names(known()) } else { Vec::new() },
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing in there can be left half done.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::conn::Conn;
    use crate::tests::{flag, upstream};

    const HOUR: Duration = Duration::from_secs(3600);

    fn flag_with(idle: Duration) -> Arc<FlagFile> {
        let mut flag = flag(15001);
        flag.limits.idle_timeout_s = idle.as_secs();
        flag.upstreams = vec![upstream("de1", "127.0.0.1:1".parse().unwrap())];
        Arc::new(flag)
    }

    fn connection(live: &Arc<Live>, flag: &Arc<FlagFile>) -> Conn {
        let from = Ipv4Addr::new(192, 168, 2, 3).into();
        Conn::open(live, flag.clone(), from, "198.51.100.7:443".parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn only_silence_in_both_directions_is_idle() {
        let live = Arc::new(Live::default());
        let flag = flag_with(HOUR);
        let (carried, dialled) = (connection(&live, &flag), connection(&live, &flag));
        carried.carried_by(&flag.upstreams[0]);
        let start = Instant::now();
        let talk = async {
            for up in [true, false, true, false] {
                sleep(HOUR - GRAIN).await;
                if up { carried.traffic.up(1) } else { carried.traffic.down(1) }
            }
            std::future::pending::<()>().await
        };
        let end = tokio::select! {
            end = carried.told() => end,
            end = dialled.told() => panic!("a dial has limits of its own: {end:?}"),
            never = live.watch_silence() => match never {},
            () = talk => panic!("talks for ever"),
        };
        assert_eq!(end, End::Idle);
        let lasted = start.elapsed() - 4 * (HOUR - GRAIN);
        assert!(lasted >= HOUR && lasted <= HOUR + 2 * GRAIN, "{lasted:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_under_a_shorter_limit_is_not_waited_for_by_the_longer() {
        let live = Arc::new(Live::default());
        let long = flag_with(24 * HOUR);
        let idles = connection(&live, &long);
        idles.carried_by(&long.upstreams[0]);
        let start = Instant::now();
        let come = async {
            sleep(HOUR).await;
            let flag = flag_with(Duration::from_secs(1));
            let conn = connection(&live, &flag);
            conn.carried_by(&flag.upstreams[0]);
            conn.told().await
        };
        let end = tokio::select! {
            end = come => end,
            never = live.watch_silence() => match never {},
        };
        assert_eq!(end, End::Idle);
        assert!(start.elapsed() < HOUR + Duration::from_secs(2), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_sleeps_sooner_than_a_few() {
        for (count, patience) in [(CROWD, TIRED), (CROWD + 1, TIRED_OF_A_CROWD)] {
            let live = Arc::new(Live::default());
            let flag = flag_with(HOUR);
            let all: Vec<_> = (0..count).map(|_| connection(&live, &flag)).collect();
            all.iter().for_each(|conn| conn.carried_by(&flag.upstreams[0]));
            let start = Instant::now();
            let tired = all.iter().map(async |conn| {
                tokio::select! {
                    end = conn.told() => panic!("nobody ends it: {end:?}"),
                    () = conn.tired() => {}
                }
            });
            let tired = futures_util::future::join_all(tired);
            tokio::select! {
                _all = tired => {}
                never = live.watch_silence() => match never {},
            }
            let took = start.elapsed();
            assert!(took >= patience && took <= patience + 2 * GRAIN, "{count}: {took:?}");
        }
    }

    #[tokio::test]
    async fn the_first_word_counts_and_nothing_is_left_of_who_is_gone() {
        let live = Arc::new(Live::default());
        let conn = connection(&live, &flag_with(HOUR));
        live.end_all(End::Drain);
        assert!(live.close(conn.id));
        assert_eq!(conn.told().await, End::Drain);
        let id = conn.id;
        drop(conn);
        assert_eq!((live.open(), live.close(id)), (0, false));
    }
}
