//! The whole control plane with a thousand devices: lists, plans, and one device that comes while
//! all the others stay open and are checked.

mod devices;
mod readers;
mod samples;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::Value;

use self::devices::{Devices, LAST_PORT};
use self::readers::READERS;
use self::samples::{Measure, Samples};
use super::caveats;
use super::machine::{self, Machine};
use super::process::Process;
use super::report::Report;
use super::{Options, hand_over, progress};
use crate::Lab;
use crate::gateway::Program;
use crate::lab::Ready;
use crate::rest::{self, API, Mapped, Rest};
use crate::upstream::Kind;

/// Until a thousand forwarders run, on a slow machine.
const ALL_OPEN: Duration = Duration::from_secs(300);
/// Between two looks at a mapping that is to open.
const GLANCE: Duration = Duration::from_millis(2);
/// Of a list that is shown to a person.
const PAGE: usize = 100;

const LISTS: [&str; 6] = [
    "/v1/mappings?limit=100",
    "/v1/mappings?limit=100&sort=client",
    "/v1/mappings?limit=100&sort=-updated_at&q=device",
    "/v1/clients?limit=100&sort=ip_cidr",
    "/v1/clients?limit=100&sort=name&q=10.9",
    "/v1/proxies?limit=100&sort=-health",
];

struct Plan {
    devices: usize,
    /// How often each list is turned from its first page to its last.
    turns: usize,
    /// How often one device comes and goes.
    guests: usize,
    plans: usize,
    /// Of which everybody who follows is told.
    changes: usize,
}

struct Bench {
    ready: Ready,
    plan: Plan,
    devices: Devices,
    samples: Samples,
}

impl Plan {
    fn of(options: &Options) -> Self {
        match options.quick {
            true => Self { devices: 20, turns: 1, guests: 3, plans: 2, changes: 2 },
            false => Self {
                devices: 1_000,
                turns: 4 * options.repeat,
                guests: 40 * options.repeat,
                plans: 5 * options.repeat,
                changes: 20 * options.repeat,
            },
        }
    }
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    let start = Instant::now();
    let busy = machine::others().await?;
    let mut lab = Lab::start().await?;
    lab.upstream(Kind::Microsocks).await?;
    let last_port = LAST_PORT.to_string();
    let usual = [("PGW_HEALTH_INTERVAL", "30s"), ("PGW_RECONCILE_INTERVAL", "15s"), ("PGW_LOG", "warn")];
    let ready = lab.gateway_with(&[&usual[..], &[("PGW_FWD_MAX_PORT", last_port.as_str())]].concat()).await?;
    let plan = Plan::of(options);
    let devices = Devices::new(plan.devices);
    let mut bench = Bench { ready, plan, devices, samples: Samples::default() };
    bench.open_all().await?;
    bench.lists().await?;
    bench.plans().await?;
    bench.guests().await?;
    bench.memory([(Program::Api, Measure::ApiMemory), (Program::Agent, Measure::AgentMemory)])?;
    let followed = bench.readers().await?;
    bench.memory([(Program::Api, Measure::FollowedMemory)])?;
    drop(followed);
    let report = Report {
        name: "api",
        title: "The control plane, with a thousand devices",
        machine: Machine::this(&["nftables", "microsocks"]).await,
        notes: notes(options, &bench.plan, busy),
        goals: bench.samples.goals(),
        tables: bench.samples.tables(),
        panels: bench.samples.panels(),
        samples: bench.samples.json(),
    };
    hand_over(options, &report)?;
    progress(&format!("after {} s", start.elapsed().as_secs()));
    Ok(())
}

impl Bench {
    fn rest(&self) -> &Rest {
        &self.ready.rest
    }

    async fn apply(&self, query: &str, document: &Value) -> Result<Value> {
        let url = format!("{API}/v1/apply{query}");
        let answer = self.rest().send(Method::POST, &url, Some(document)).await?;
        ensure!(answer.status == 200, "{:.500}", answer.text);
        Ok(answer.body)
    }

    async fn open_all(&mut self) -> Result<()> {
        progress(&format!("{} devices are made by one document", self.plan.devices));
        let start = Instant::now();
        self.apply("", &self.devices.document("")).await?;
        self.samples.add(Measure::Made, start);
        while self.open().await? < self.plan.devices {
            ensure!(start.elapsed() < ALL_OPEN, "only {} are open after {ALL_OPEN:?}", self.open().await?);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.samples.add(Measure::AllOpen, start);
        Ok(())
    }

    async fn open(&self) -> Result<usize> {
        let gateways = self.rest().get("/v1/gateways").await?;
        let applied = gateways.pointer("/items/0/applied").and_then(Value::as_u64);
        Ok(usize::try_from(applied.context("a gateway that counts nothing")?)?)
    }

    async fn lists(&mut self) -> Result<()> {
        progress("lists, page by page");
        for list in LISTS.iter().cycle().take(LISTS.len() * self.plan.turns) {
            let (mut path, mut seen) = ((*list).to_owned(), 0);
            loop {
                let start = Instant::now();
                let page = self.rest().get(&path).await?;
                self.samples.add(Measure::Page, start);
                seen += page.get("items").and_then(Value::as_array).map_or(0, Vec::len);
                let Some(next) = page.get("next_cursor").and_then(Value::as_str) else { break };
                path = format!("{list}&cursor={next}");
            }
            ensure!(seen == self.plan.devices || list.contains("q=10.9"), "{list} told of {seen}");
        }
        Ok(())
    }

    async fn plans(&mut self) -> Result<()> {
        progress("plans of the whole configuration");
        for round in 0..self.plan.plans {
            for (measure, note) in [(Measure::PlanKeep, ""), (Measure::PlanChange, "another note")] {
                let document = self.devices.document(note);
                let start = Instant::now();
                let plan = self.apply("?dry_run=true", &document).await?;
                self.samples.add(measure, start);
                let changed = plan.pointer("/plan/change").and_then(Value::as_array).map(Vec::len);
                let want = if note.is_empty() { 0 } else { self.plan.devices };
                ensure!(changed == Some(want), "round {round}: {changed:?} changes");
            }
        }
        Ok(())
    }

    /// One goes and comes back, with the others open and checked all the time.
    async fn guests(&mut self) -> Result<()> {
        progress("one device comes and goes");
        let mappings = self.rest().get("/v1/mappings?limit=1&sort=-port").await?;
        let mapping = mappings.pointer("/items/0").context("no mapping")?;
        let (client, proxy) =
            (rest::text(mapping, "client_id").to_owned(), rest::text(mapping, "proxy_id").to_owned());
        let mut id = rest::id(mapping)?;
        for _ in 0..self.plan.guests {
            let start = Instant::now();
            self.rest().delete(&format!("/v1/mappings/{id}")).await?;
            self.samples.add(Measure::Gone, start);
            let start = Instant::now();
            let made: Mapped = self.rest().add_mapping(&client, &proxy, 100).await?;
            while rest::text(&self.rest().mapping(&made).await?, "state") != "APPLIED" {
                ensure!(start.elapsed() < ALL_OPEN, "a device does not open");
                tokio::time::sleep(GLANCE).await;
            }
            self.samples.add(Measure::Open, start);
            id = made.id;
        }
        ensure!(self.open().await? == self.plan.devices, "others were touched");
        Ok(())
    }

    fn memory<const N: usize>(&mut self, of: [(Program, Measure); N]) -> Result<()> {
        for (program, measure) in of {
            let pid = self.ready.gateway.pid(program).context("it does not run any more")?;
            self.samples.put(measure, Process(pid).rss()? / 1024.0);
        }
        Ok(())
    }
}

fn notes(options: &Options, plan: &Plan, busy: f64) -> Vec<String> {
    let mut notes = vec![
        format!(
            "A whole gateway in namespaces on one machine, with the programs as they are shipped, SQLite, and {} clients with a \
             mapping and a proxy each: as many forwarders run, and every proxy is checked every 30 s through an upstream on the \
             same machine. What is measured shares its processors with all of them.",
            plan.devices
        ),
        format!(
            "A page holds up to {PAGE} rows. Lists are turned from the first page to the last, with and without a search, in six orders. \
             A plan is the answer of `POST /v1/apply?dry_run=true` to a document of all of them, as it is and with each client changed."
        ),
        "*Open*: from `POST /v1/mappings` of a client whose forwarder was stopped to the first answer that says APPLIED, asked every \
         2 ms. *Gone*: until DELETE says 204, which is when rule and forwarder are gone."
            .to_owned(),
        format!(
            "*Told*: from sending a change of a client to the moment at which the last of {READERS} readers of `/v1/events` has read of it; \
             they are read by the bench itself, on the same processors."
        ),
    ];
    notes.extend(caveats::of_run(options, busy));
    notes
}
