//! The page that Prometheus reads. Names and labels by its conventions: base units, `_total` for
//! what only grows, and no label whose values a stranger can make up.

use std::collections::BTreeMap;
use std::fmt;

use pgw_core::active::AgentStatus;
use pgw_core::control::Sum;
use pgw_core::drill::Outcome;
use pgw_core::health::{Health, HealthStatus};
use pgw_core::state::MappingState;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::Totals;
use super::counts::Counts;
use super::process::Process;
use crate::store::TunnelCensus;
use crate::store::traffic::{Census, CountedProxy};

pub(super) type Labels = Vec<(&'static str, String)>;

/// All that is looked up when somebody asks.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub census: Census,
    /// As the census has the proxies.
    pub health: Vec<Health>,
    pub forwarders: usize,
    pub connections: u64,
    pub event_readers: usize,
    pub totals: Totals,
    pub tunnels: TunnelCensus,
    /// Clients are told one by one.
    pub by_client: bool,
    pub agent_answers: bool,
    /// Seconds since 1970.
    pub reconciled_at: Option<f64>,
    pub agent: Option<AgentStatus>,
}

/// The whole page.
pub fn page(snapshot: Snapshot, counts: &Counts) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(snapshot));
    counts.register(&mut registry);
    let mut page = String::new();
    text::encode_registry(&mut page, &registry)?;
    Ok(classic(&page))
}

/// The library writes OpenMetrics, which names a counter's family without its `_total` and knows
/// lines that older readers do not; everybody who reads that reads this, too.
fn classic(page: &str) -> String {
    let kinds: BTreeMap<&str, &str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let mut text = String::with_capacity(page.len() + 1024);
    for line in page.lines().filter(|line| !line.starts_with("# UNIT ")) {
        let about =
            ["# HELP ", "# TYPE "].into_iter().find_map(|kind| Some((kind, line.strip_prefix(kind)?)));
        match about.and_then(|(kind, rest)| Some((kind, rest.split_once(' ')?))) {
            Some((kind, (name, rest))) if kinds.get(name) == Some(&"counter") => {
                text.extend([kind, name, "_total ", rest]);
            }
            // Where there are no labels, no brackets either.
            Some(_) | None => match line.split_once("{} ") {
                Some((name, value)) if !name.contains('{') => text.extend([name, " ", value]),
                // An operator may have called something so.
                Some(_) | None => text.push_str(line),
            },
        }
        text.push('\n');
    }
    text
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let to = &mut encoder;
        let version = ("version", env!("CARGO_PKG_VERSION").to_owned());
        gauge(to, "pgw_build_info", "Which version this is", [(vec![version], 1.0)])?;
        self.encode_counts(to)?;
        self.encode_proxies(to)?;
        self.encode_traffic(to)?;
        self.tunnels.encode(to)?;
        self.encode_agent(to)?;
        let process = Process::look();
        counter(
            to,
            "process_cpu_seconds",
            "Time that the program has worked",
            [(vec![], process.cpu_seconds)],
        )?;
        for (name, help, value) in [
            (
                "process_resident_memory_bytes",
                "Memory that the program has in use",
                count(process.resident_bytes),
            ),
            ("process_open_fds", "Files and sockets that the program has open", count(process.open_fds)),
            ("process_start_time_seconds", "When the program was started", process.started_at),
        ] {
            gauge(to, name, help, [(vec![], value)])?;
        }
        Ok(())
    }
}

impl Snapshot {
    fn encode_counts(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Census { clients_open, clients_closed, clients_unmapped, mappings, .. } = &self.census;
        let clients = [("open", clients_open), ("closed", clients_closed), ("unmapped", clients_unmapped)];
        let clients = clients.map(|(state, many)| (label("state", state), number(*many)));
        gauge(to, "pgw_clients", "Registered devices, by whether they have a way out now", clients)?;
        let of =
            |wanted| mappings.iter().filter(move |(state, _)| *state == wanted).map(|(_, many)| *many).sum();
        let states = [
            ("applied", MappingState::Applied),
            ("pending", MappingState::Pending),
            ("failed", MappingState::Failed),
        ];
        let states = states.map(|(word, state)| (label("state", word), number(of(state))));
        gauge(to, "pgw_mappings", "Ways out by a proxy, by state", states)?;
        let ready = count(u64::try_from(self.forwarders).unwrap_or_default());
        gauge(to, "pgw_forwarders", "Forwarders that take connections", [(vec![], ready)])?;
        let open = [(vec![], count(self.connections))];
        gauge(to, "pgw_connections", "Connections that are open through forwarders", open)?;
        let readers = count(u64::try_from(self.event_readers).unwrap_or_default());
        gauge(to, "pgw_event_readers", "Who listens to /v1/events now", [(vec![], readers)])
    }

    fn encode_proxies(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut by_health = ["ok", "degraded", "down", "unknown", "disabled"].map(|word| (word, 0_i64));
        for (proxy, health) in self.proxies() {
            let word = word(proxy, health);
            by_health.iter_mut().filter(|(known, _)| *known == word).for_each(|(_, many)| *many += 1);
        }
        let by_health = by_health.map(|(word, many)| (label("health", word), number(many)));
        gauge(to, "pgw_proxies", "Upstreams, by health", by_health)?;
        let up = self.proxies().filter(|(proxy, _)| proxy.enabled);
        let up = up.map(|(proxy, health)| (names(proxy), if health.status.is_up() { 1.0 } else { 0.0 }));
        gauge(to, "pgw_proxy_up", "Whether devices may leave by this upstream", up)?;
        let latency = self
            .proxies()
            .filter_map(|(proxy, health)| Some((names(proxy), f64::from(health.latency_ms?) / 1000.0)));
        gauge(to, "pgw_proxy_latency_seconds", "How long its last check took", latency)
    }

    fn encode_traffic(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let sum = |proxy: &CountedProxy| self.totals.proxies.get(&proxy.id).copied().unwrap_or_default();
        let proxies = || self.census.proxies.iter().map(|proxy| (names(proxy), sum(proxy)));
        let help = "What was carried through this upstream since this program began to count";
        counter(to, "pgw_proxy_traffic_bytes", help, proxies().flat_map(both_ways))?;
        let begun = proxies().map(|(labels, sum)| (labels, count(sum.connections)));
        counter(to, "pgw_proxy_connections", "Connections begun through this upstream", begun)?;
        if !self.by_client {
            return Ok(());
        }
        let clients =
            || self.totals.clients.iter().map(|(id, sum)| (label("client_id", &id.to_string()), *sum));
        let help = "What was carried for this device since this program began to count";
        counter(to, "pgw_client_traffic_bytes", help, clients().flat_map(both_ways))?;
        let begun = clients().map(|(labels, sum)| (labels, count(sum.connections)));
        counter(to, "pgw_client_connections", "Connections begun by this device", begun)
    }

    fn encode_agent(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let yes = |yes: bool| if yes { 1.0 } else { 0.0 };
        let one = |value: Option<f64>| value.map(|value| (vec![], value));
        let help = "Whether the agent answers, and the kernel holds what it said";
        gauge(to, "pgw_agent_up", help, one(Some(yes(self.agent_answers))))?;
        let help = "When the rules were last confirmed";
        gauge(to, "pgw_agent_last_reconcile_timestamp_seconds", help, one(self.reconciled_at))?;
        let agent = self.agent.as_ref();
        let drift = agent.map(|agent| count(agent.drift.count));
        counter(
            to,
            "pgw_agent_drift",
            "How often somebody else's change of the rules was made right",
            one(drift),
        )?;
        let drill = agent.map(|agent| &agent.drill);
        let closed = drill.and_then(|drill| match drill.outcome? {
            Outcome::Closed => Some(1.0),
            Outcome::Leaked => Some(0.0),
            Outcome::NotRun => None,
        });
        let help =
            "Whether the last leak drill found a closed device closed; absent when it found out nothing";
        gauge(to, "pgw_drill_closed", help, one(closed))?;
        let proven = drill.and_then(|drill| drill.proven_closed_at).map(seconds);
        let help = "When a leak drill last proved that closed is closed";
        gauge(to, "pgw_drill_last_closed_timestamp_seconds", help, one(proven))
    }

    fn proxies(&self) -> impl Iterator<Item = (&CountedProxy, &Health)> {
        self.census.proxies.iter().zip(&self.health)
    }
}

pub(super) fn gauge(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (Labels, f64)>,
) -> fmt::Result {
    let mut family = to.encode_descriptor(name, help, None, MetricType::Gauge)?;
    samples.into_iter().try_for_each(|(labels, value)| family.encode_family(&labels)?.encode_gauge(&value))
}

/// Without `_total`, which is added.
pub(super) fn counter(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (Labels, f64)>,
) -> fmt::Result {
    let mut family = to.encode_descriptor(name, help, None, MetricType::Counter)?;
    samples.into_iter().try_for_each(|(labels, value)| {
        family.encode_family(&labels)?.encode_counter::<Labels, f64, f64>(&value, None)
    })
}

fn both_ways((labels, sum): (Labels, Sum)) -> [(Labels, f64); 2] {
    [("up", sum.bytes_up), ("down", sum.bytes_down)].map(|(direction, bytes)| {
        let mut labels = labels.clone();
        labels.push(("direction", direction.to_owned()));
        (labels, count(bytes))
    })
}

fn names(proxy: &CountedProxy) -> Labels {
    vec![("proxy_id", proxy.id.to_string()), ("proxy", proxy.name.clone())]
}

fn word(proxy: &CountedProxy, health: &Health) -> &'static str {
    match health.status {
        _ if !proxy.enabled => "disabled",
        HealthStatus::Ok => "ok",
        HealthStatus::Degraded => "degraded",
        HealthStatus::Down => "down",
        HealthStatus::Unknown => "unknown",
    }
}

pub(super) fn label(name: &'static str, value: &str) -> Labels {
    vec![(name, value.to_owned())]
}

pub(super) fn seconds(at: jiff::Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
pub(super) fn count(number: u64) -> f64 {
    number as f64
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
pub(super) fn number(number: i64) -> f64 {
    number as f64
}
