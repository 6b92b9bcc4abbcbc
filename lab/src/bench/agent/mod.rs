//! The agent's ruleset beside the other style, a rule per client, at ever more clients; and the
//! agent itself, from the call to the kernel.

mod api;
mod kernel;
mod rules;
mod samples;
mod tables;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use self::api::Agent;
use self::kernel::{Notices, millis, nft};
use self::rules::{GUEST, active_set, clients, port_of_device};
use self::samples::{Measure, Samples, Style};
use super::caveats;
use super::ground::{self, DEVICE, FAR, Ground, STRANGER};
use super::load::Load;
use super::machine::{self, Machine};
use super::process::slab;
use super::report::Report;
use super::{Options, Part, far, hand_over, progress};

/// By this word for `--only` what goes through the agent is measured.
const THROUGH: &str = "through pgw-agent";
/// How nft is given what to do.
const BATCH: [&str; 2] = ["-f", "-"];
/// Connections that are tried at the same time.
const AT_ONCE: usize = 32;
/// The kernel gives back what was deleted a moment later.
const SETTLE: Duration = Duration::from_millis(300);

struct Plan {
    repeat: usize,
    /// Numbers of clients, one first.
    sizes: Vec<usize>,
    rate: Duration,
    /// How often one client comes and goes: by nft alone, and through the agent.
    guests: usize,
    changes: usize,
}

struct Bench {
    ground: Ground,
    plan: Plan,
    samples: Samples,
}

impl Plan {
    fn of(options: &Options) -> Self {
        if options.quick {
            return Self::quick(options.repeat);
        }
        Self {
            repeat: options.repeat,
            sizes: vec![1, 100, 1_000, 10_000],
            rate: Duration::from_millis(1_500),
            guests: 3,
            changes: 100,
        }
    }

    fn quick(repeat: usize) -> Self {
        let rate = Duration::from_millis(300);
        Self { repeat, sizes: vec![1, 100, 1_000], rate, guests: 2, changes: 5 }
    }
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    let start = Instant::now();
    let styles: Vec<Style> = Style::ALL.into_iter().filter(|style| options.wants(style.name())).collect();
    ensure!(!styles.is_empty() || options.wants(THROUGH), "--only: it is none of what is measured");
    let busy = machine::others().await?;
    let ground = Ground::build(&[], None).await?;
    let mut bench = Bench { ground, plan: Plan::of(options), samples: Samples::default() };
    for repetition in 1..=bench.plan.repeat {
        for size in bench.plan.sizes.clone() {
            for style in &styles {
                progress(&format!("{repetition}/{}: {}, {size} clients", bench.plan.repeat, style.name()));
                bench.load(*style, size).await.with_context(|| style.name())?;
            }
        }
    }
    if options.wants(THROUGH) {
        bench.through_agent().await.context(THROUGH)?;
    }
    let Bench { plan, samples, .. } = &bench;
    let report = Report {
        name: "agent",
        title: "The agent's rules, from one client to ten thousand",
        machine: Machine::this(&["nftables"]).await,
        notes: notes(options, plan, busy),
        goals: tables::goals(samples),
        tables: tables::tables(samples, plan),
        panels: tables::panels(samples, plan),
        samples: samples.json(),
    };
    hand_over(options, &report)?;
    progress(&format!("after {} s", start.elapsed().as_secs()));
    Ok(())
}

impl Bench {
    async fn load(&mut self, style: Style, size: usize) -> Result<()> {
        let clients = clients(size);
        let port = port_of_device(&clients).context("the device is not among the clients")?;
        let relay = Part::Bare { port, target: SocketAddrV4::new(FAR, far::ORIGIN) };
        let mut relay = self.ground.part(&relay, "bare")?;
        ground::accepts((Ipv4Addr::LOCALHOST, port).into(), Some(&mut relay)).await?;
        let batch = rules::full(style, &clients).await?;
        let before = slab()?;
        let (took, _said) = nft(&BATCH, &batch).await?;
        self.samples.add(style, Measure::Load, size, took);
        // Others may have given back more than this took.
        let grown = Some(slab()? - before).filter(|grown| *grown >= 0.0);
        self.samples.add(style, Measure::Memory, size, grown.unwrap_or(f64::NAN));
        for _ in 0..self.plan.guests {
            let (took, _said) = nft(&BATCH, &rules::guest_comes(style)).await?;
            self.samples.add(style, Measure::Added, size, took);
            let (looked, listed) = match style {
                Style::Rules => nft(&rules::LISTING, "").await?,
                Style::Sets => (0.0, String::new()),
            };
            let (took, _said) = nft(&BATCH, &rules::guest_goes(style, &listed)?).await?;
            self.samples.add(style, Measure::Removed, size, looked + took);
        }
        for (who, measure) in [(DEVICE, Measure::Redirected), (STRANGER, Measure::Forwarded)] {
            self.ground.device_is(who).await?;
            let load = Load::Rate { to: (FAR, far::ORIGIN).into(), at_once: AT_ONCE, time: self.plan.rate };
            let outcome = self.ground.measure(load).await?;
            ensure!(outcome.failed == 0, "{} connections failed", outcome.failed);
            self.samples.add(style, measure, size, outcome.measured / outcome.seconds);
        }
        nft(&BATCH, rules::gone(style)).await?;
        relay.kill().await?;
        tokio::time::sleep(SETTLE).await;
        Ok(())
    }

    async fn through_agent(&mut self) -> Result<()> {
        let mut notices = Notices::listen()?;
        let agent = Agent::start(active_set(1, &[]).to_string().into()).await?;
        for size in self.plan.sizes.clone() {
            progress(&format!("{THROUGH}, {size} clients"));
            let without = clients(size);
            let with = [&without[..], &[GUEST]].concat();
            let said = |all: &[_]| Arc::<str>::from(active_set(1, all).to_string());
            let sets = [(said(&with), size + 1), (said(&without), size)];
            agent.say(said(&without));
            agent.reconcile(size).await?;
            for (set, count) in sets.iter().cycle().take(2 * self.plan.changes) {
                agent.say(set.clone());
                notices.forget();
                let start = Instant::now();
                agent.reconcile(*count).await?;
                let confirmed = start.elapsed();
                let in_kernel = notices.first().await?.duration_since(start);
                self.samples.add(Style::Sets, Measure::InKernel, size, millis(in_kernel));
                self.samples.add(Style::Sets, Measure::Confirmed, size, millis(confirmed));
            }
        }
        Ok(())
    }
}

fn notes(options: &Options, plan: &Plan, busy: f64) -> Vec<String> {
    let mut notes = vec![
        format!(
            "Namespaces and cables on one machine: device, gateway, far end. *pgw* is what `pgw-agent render` writes for \
             an active set of so many clients: as many of them are mapped as there are ports, the others are closed. \
             *A rule per client* is what scripts do: for each a redirect and an accept if it is mapped, and a drop. \
             Medians of {} repetitions, ratios within a repetition.",
            plan.repeat
        ),
        "Connections: each is new, says a TLS hello and is answered with 512 bytes. The mapped device stands in the \
         middle of the others and is redirected to the bare relay of the forwarders' bench; the unregistered one is \
         forwarded and meets every rule."
            .to_owned(),
        "*One client* is a mapped one, which is four elements or three rules. What nft takes is the whole life of its \
         process. Rules are removed by their handles, which have to be looked for first."
            .to_owned(),
        format!(
            "Through pgw-agent: a scripted API changes its answer and calls the agent, {} times. The kernel's own \
             notice says when the change is there; *confirmed* is the agent's answer, after it has read everything \
             back from the kernel and has saved it for the next boot.",
            2 * plan.changes
        ),
        "Memory is what the machine's slab grew by: about, not exactly.".to_owned(),
    ];
    notes.extend(caveats::of_run(options, busy));
    notes
}
