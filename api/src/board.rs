//! What is true right now, as far as this process has seen it: health by proxy, forwarders by
//! port, the kernel by the agent's last report. Facts are never read from the database, where
//! they would be memories.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use pgw_core::active::ReconcileReport;
use pgw_core::health::Health;
use pgw_core::ids::{MappingId, ProxyId};
use pgw_core::state::Rule;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long it is told that the gateway could not check; while it goes on, it is found out anew
/// every second.
const CHECKS_FAILED_FOR: Duration = Duration::from_secs(10);

/// By port, what the forwarder there has loaded.
pub type Forwarders = HashMap<u16, BTreeSet<MappingId>>;

pub struct Board {
    health: RwLock<HashMap<ProxyId, Health>>,
    /// When the gateway itself could last not check an upstream, and why.
    checks_failed: RwLock<Option<(Instant, String)>>,
    /// Why nobody knows in which country an address is, if so.
    no_countries: RwLock<Option<String>>,
    /// Which exit addresses mappings have asked for in vain, and who has them.
    exits_taken: RwLock<HashMap<MappingId, (IpAddr, String)>>,
    /// Another gateway that is running has this one's name.
    namesake: AtomicBool,
    forwarders: watch::Sender<Forwarders>,
    /// Ports whose forwarder is there and has not answered for a while.
    silent: RwLock<BTreeSet<u16>>,
    kernel: RwLock<Kernel>,
    /// How long a confirmation is believed while the agent does not answer.
    believed_for: Duration,
}

struct Kernel {
    redirects: BTreeMap<Ipv4Addr, u16>,
    confirmed_at: Instant,
    ever: bool,
    /// Why the last attempt to ask failed.
    error: Option<String>,
    /// What the agent had to say beside the rules.
    warnings: Vec<String>,
}

/// What of the agent's answer is news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentNews {
    /// It did not before.
    pub answers: bool,
    /// Of something else than before.
    pub warns: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unanswered {
    FromNowOn,
    ForAnotherReason,
    AsBefore,
}

impl Board {
    pub fn new(believed_for: Duration) -> Self {
        let kernel = Kernel {
            redirects: BTreeMap::new(),
            confirmed_at: Instant::now(),
            ever: false,
            error: Some("the agent has not been asked yet".to_owned()),
            warnings: Vec::new(),
        };
        Self {
            health: RwLock::default(),
            checks_failed: RwLock::default(),
            no_countries: RwLock::default(),
            exits_taken: RwLock::default(),
            namesake: AtomicBool::new(false),
            forwarders: watch::Sender::default(),
            silent: RwLock::default(),
            kernel: RwLock::new(kernel),
            believed_for,
        }
    }

    pub fn set_health(&self, proxy: ProxyId, health: Health) {
        write(&self.health).insert(proxy, health);
    }

    pub fn forget_health(&self, proxy: ProxyId) {
        write(&self.health).remove(&proxy);
    }

    /// A proxy that nobody has looked at is UNKNOWN, and so closed.
    pub fn health(&self, proxy: ProxyId) -> Health {
        read(&self.health).get(&proxy).cloned().unwrap_or_default()
    }

    pub fn checks_failed(&self, why: &str) {
        *write(&self.checks_failed) = Some((Instant::now(), why.to_owned()));
    }

    /// Why the gateway itself cannot check its upstreams, if it cannot.
    pub fn checks_error(&self) -> Option<String> {
        let last = read(&self.checks_failed);
        last.as_ref().filter(|(at, _)| at.elapsed() < CHECKS_FAILED_FOR).map(|(_, why)| why.clone())
    }

    pub fn set_no_countries(&self, why: Option<String>) {
        *write(&self.no_countries) = why;
    }

    pub fn no_countries(&self) -> Option<String> {
        read(&self.no_countries).clone()
    }

    /// What came of the last time that it asked: by whom the address is taken, or none.
    pub fn set_exit_taken(&self, mapping: MappingId, by: Option<(IpAddr, String)>) {
        let mut taken = write(&self.exits_taken);
        match by {
            Some(by) => drop(taken.insert(mapping, by)),
            None => drop(taken.remove(&mapping)),
        }
    }

    pub fn exit_taken(&self, mapping: MappingId, exit_ip: IpAddr) -> Option<String> {
        let taken = read(&self.exits_taken);
        taken.get(&mapping).filter(|(ip, _)| *ip == exit_ip).map(|(_, by)| by.clone())
    }

    pub fn set_namesake(&self, there_is_one: bool) {
        self.namesake.store(there_is_one, Ordering::Relaxed);
    }

    pub fn namesake(&self) -> bool {
        self.namesake.load(Ordering::Relaxed)
    }

    /// The forwarder on this port listens, and has loaded these mappings. Answers whether it was
    /// not ready until now.
    pub fn forwarder_ready(&self, port: u16, mappings: BTreeSet<MappingId>) -> bool {
        self.forwarder_answers(port);
        self.forwarders.send_if_modified(|ready| ready.insert(port, mappings).is_none())
    }

    /// Answers whether it was ready until now.
    pub fn forwarder_gone(&self, port: u16) -> bool {
        self.forwarder_answers(port);
        self.forwarders.send_if_modified(|ready| ready.remove(&port).is_some())
    }

    /// It is there, and was asked several times in vain. It stays what it was, but what it carries
    /// nobody knows. Answers whether that is news.
    pub fn forwarder_silent(&self, port: u16) -> bool {
        self.forwarder_known(port) && write(&self.silent).insert(port)
    }

    /// Answers whether it did not until now.
    pub fn forwarder_answers(&self, port: u16) -> bool {
        read(&self.silent).contains(&port) && write(&self.silent).remove(&port)
    }

    pub fn is_silent(&self, port: u16) -> bool {
        read(&self.silent).contains(&port)
    }

    /// Changes when one becomes ready, or is gone.
    pub fn forwarders(&self) -> watch::Receiver<Forwarders> {
        self.forwarders.subscribe()
    }

    pub fn forwarder_serves(&self, port: u16, mapping: MappingId) -> bool {
        self.forwarders.borrow().get(&port).is_some_and(|loaded| loaded.contains(&mapping))
    }

    /// What the forwarder on this port has loaded, if it is ready.
    pub fn forwarder_loaded(&self, port: u16) -> Option<BTreeSet<MappingId>> {
        self.forwarders.borrow().get(&port).cloned()
    }

    pub fn forwarder_known(&self, port: u16) -> bool {
        self.forwarders.borrow().contains_key(&port)
    }

    pub fn kernel_reported(&self, report: &ReconcileReport) -> AgentNews {
        let redirects = report.applied.iter().map(|rule| (rule.ip_cidr.addr(), rule.port)).collect();
        let now = Kernel {
            redirects,
            confirmed_at: Instant::now(),
            ever: true,
            error: None,
            warnings: report.warnings.clone(),
        };
        let before = std::mem::replace(&mut *write(&self.kernel), now);
        let warns = !report.warnings.is_empty() && before.warnings != report.warnings;
        AgentNews { answers: before.error.is_some(), warns }
    }

    pub fn kernel_unanswered(&self, why: &str) -> Unanswered {
        match write(&self.kernel).error.replace(why.to_owned()) {
            None => Unanswered::FromNowOn,
            Some(before) if before == why => Unanswered::AsBefore,
            Some(_other) => Unanswered::ForAnotherReason,
        }
    }

    /// Why the agent's last answer was none, or what it warned of.
    pub fn agent_trouble(&self) -> Option<String> {
        let kernel = read(&self.kernel);
        let warned = (!kernel.warnings.is_empty()).then(|| kernel.warnings.join("; "));
        kernel.error.clone().or(warned)
    }

    /// When the kernel's rules were last confirmed, if this process has seen it.
    pub fn confirmed_before(&self) -> Option<Duration> {
        let kernel = read(&self.kernel);
        kernel.ever.then(|| kernel.confirmed_at.elapsed())
    }

    pub fn rule(&self, client: Ipv4Addr, port: u16) -> Rule {
        let kernel = read(&self.kernel);
        let seen = kernel.redirects.get(&client) == Some(&port);
        match &kernel.error {
            None if seen => Rule::Confirmed,
            None => Rule::Absent("the agent reports it as missing".to_owned()),
            // Only what this process was told once can be believed for a while.
            Some(why) if seen && kernel.confirmed_at.elapsed() < self.believed_for => {
                Rule::Unanswered(why.clone())
            }
            Some(why) => Rule::Stale(why.clone()),
        }
    }
}

/// A panic elsewhere leaves these maps whole: each change is one insert or remove.
fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use pgw_core::active::AppliedRule;
    use pgw_core::ids::Generation;

    use super::*;

    fn report(applied: &[(&str, u16)]) -> ReconcileReport {
        let rule = |(ip, port): &(&str, u16)| AppliedRule { ip_cidr: ip.parse().unwrap(), port: *port };
        ReconcileReport {
            generation: Generation(1),
            changed: true,
            took_ms: 1,
            clients: applied.len(),
            applied: applied.iter().map(rule).collect(),
            flows_ended: 0,
            warnings: vec![],
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rule_is_confirmed_only_by_a_report_that_names_it_and_an_old_report_expires() {
        let board = Board::new(Duration::from_secs(45));
        let ip = Ipv4Addr::new(10, 0, 0, 3);
        assert!(matches!(board.rule(ip, 15001), Rule::Stale(_)), "nobody has told this process anything");

        board.kernel_reported(&report(&[("10.0.0.3", 15001)]));
        assert_eq!(board.rule(ip, 15001), Rule::Confirmed);
        assert!(matches!(board.rule(ip, 15002), Rule::Absent(_)));
        assert!(matches!(board.rule(Ipv4Addr::new(10, 0, 0, 4), 15001), Rule::Absent(_)));

        board.kernel_unanswered("it is down");
        assert_eq!(board.rule(ip, 15001), Rule::Unanswered("it is down".into()));
        tokio::time::advance(Duration::from_secs(46)).await;
        assert_eq!(board.rule(ip, 15001), Rule::Stale("it is down".into()));
        board.kernel_reported(&report(&[("10.0.0.3", 15001)]));
        assert_eq!(board.rule(ip, 15001), Rule::Confirmed);
    }

    #[test]
    fn a_forwarder_is_silent_until_it_answers_or_is_gone_and_only_while_it_is_known() {
        let board = Board::new(Duration::from_secs(45));
        assert!(!board.forwarder_silent(15001) && !board.is_silent(15001), "nobody is there");
        let ends: [fn(&Board); 3] = [
            |board| assert!(board.forwarder_answers(15001)),
            |board| assert!(board.forwarder_gone(15001)),
            |board| assert!(!board.forwarder_ready(15001, BTreeSet::new())),
        ];
        for end in ends {
            board.forwarder_ready(15001, BTreeSet::new());
            assert!(board.forwarder_silent(15001) && !board.forwarder_silent(15001), "it is told once");
            assert!(board.is_silent(15001) && board.forwarder_known(15001));
            end(&board);
            assert!(!board.is_silent(15001) && !board.forwarder_answers(15001));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_could_not_be_made_is_told_for_a_while() {
        let board = Board::new(Duration::from_secs(45));
        assert_eq!(board.checks_error(), None);
        board.checks_failed("no files left");
        assert_eq!(board.checks_error().as_deref(), Some("no files left"));
        tokio::time::advance(CHECKS_FAILED_FOR).await;
        assert_eq!(board.checks_error(), None);
    }

    #[test]
    fn what_the_agent_warns_of_is_told_and_takes_nothing_from_what_it_confirmed() {
        let board = Board::new(Duration::from_secs(45));
        let warnings = vec!["PGW_LAN_IF=lan0 does not exist".to_owned()];
        board.kernel_reported(&ReconcileReport { warnings, ..report(&[("10.0.0.3", 15001)]) });
        assert_eq!(board.agent_trouble().as_deref(), Some("PGW_LAN_IF=lan0 does not exist"));
        assert_eq!(board.rule(Ipv4Addr::new(10, 0, 0, 3), 15001), Rule::Confirmed);
        board.kernel_reported(&report(&[("10.0.0.3", 15001)]));
        assert_eq!(board.agent_trouble(), None);
    }

    #[test]
    fn a_proxy_that_nobody_looked_at_is_unknown() {
        let board = Board::new(Duration::from_secs(1));
        assert!(!board.health(ProxyId(uuid::Uuid::nil())).status.is_up());
    }
}
