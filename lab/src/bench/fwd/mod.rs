//! The forwarder beside its peers and beside the limit. All take part in every repetition, one
//! after the other and each with the machine for itself, so that what is noisy is noisy for all.

mod contestants;
mod footprint;
mod goals;
mod plan;
mod programs;
mod samples;
mod tables;
mod traffic;

use std::net::Ipv4Addr;
use std::time::Instant;

use anyhow::{Result, ensure};

use self::contestants::Contestant;
use self::plan::Plan;
use self::samples::{Measure, Samples};
use super::caveats::{self, Troubles};
use super::ground::Ground;
use super::machine::{self, Machine};
use super::report::Report;
use super::{Options, hand_over, progress};

const PACKAGES: [&str; 3] = ["redsocks", "haproxy", "v2ray"];

/// What is measured of ours only, by the words for `--only`.
const NAMES: &str = "dns";
const IDLE: &str = "idle";

struct Bench {
    ground: Ground,
    plan: Plan,
    samples: Samples,
    troubles: Troubles,
    /// How much of a core others used before it began.
    busy: f64,
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    let start = Instant::now();
    let busy = machine::others().await?;
    let (wanted, absent): (Vec<_>, Vec<_>) =
        contestants(options)?.into_iter().partition(|who| who.is_installed());
    let redirects: Vec<(Ipv4Addr, u16)> =
        Contestant::ALL.into_iter().filter_map(|who| Some((who.origin()?, who.port()))).collect();
    let ground = Ground::build(&redirects, Some(Contestant::FwdConnect.port())).await?;
    progress(&format!(
        "a device, a gateway and a far end stand; the forwarder has core {}, the ends have core {}",
        ground.cores.forwarder, ground.cores.ends
    ));
    let plan = Plan::of(options, ground.most_held());
    let mut bench = Bench { ground, plan, samples: Samples::default(), troubles: Troubles::default(), busy };
    for who in absent {
        bench.troubles.tell(who.name(), "not installed");
    }
    bench.traffic(&wanted).await?;
    for who in wanted {
        progress(&format!("connections that say nothing: {}", who.name()));
        let done = bench.held(who).await;
        bench.judge(who, done)?;
    }
    if options.wants(NAMES) {
        for _ in 0..bench.plan.repeat {
            progress("names");
            bench.names().await?;
        }
    }
    if options.wants(IDLE) {
        bench.idle().await?;
    }
    bench.write(options).await?;
    progress(&format!("after {} s", start.elapsed().as_secs()));
    Ok(())
}

/// Those that are wanted, with what they are compared to.
fn contestants(options: &Options) -> Result<Vec<Contestant>> {
    let wanted = |who: &Contestant| {
        let compared = *who == Contestant::HaproxyTls && options.wants(Contestant::FwdHttps.name());
        compared || options.wants(who.name())
    };
    if Contestant::ALL.iter().any(wanted) {
        return Ok(Contestant::ALL.into_iter().filter(|who| who.is_measure() || wanted(who)).collect());
    }
    ensure!(
        options.wants(NAMES) || options.wants(IDLE),
        "--only: it is none of {}, {NAMES}, {IDLE}",
        Contestant::ALL.map(Contestant::name).join(", ")
    );
    Ok(Vec::new())
}

impl Bench {
    async fn traffic(&mut self, wanted: &[Contestant]) -> Result<()> {
        for repetition in 1..=self.plan.repeat {
            for who in wanted {
                progress(&format!("{repetition}/{}: {}", self.plan.repeat, who.name()));
                let done = self.near(*who).await;
                self.judge(*who, done)?;
                self.samples.fill(*who, &Measure::NEAR, repetition);
            }
        }
        self.ground.go_far().await?;
        for repetition in 1..=self.plan.repeat {
            for who in wanted {
                progress(&format!("{repetition}/{}, 50 ms away: {}", self.plan.repeat, who.name()));
                let done = self.far(*who).await;
                self.judge(*who, done)?;
                self.samples.fill(*who, &Measure::FAR, repetition);
            }
        }
        self.ground.come_near().await
    }

    fn judge(&mut self, who: Contestant, done: Result<()>) -> Result<()> {
        self.troubles.judge(who.name(), !who.is_ours() && !who.is_measure(), done)
    }

    async fn write(&self, options: &Options) -> Result<()> {
        let Self { plan, samples, .. } = self;
        let report = Report {
            name: "fwd",
            title: "The forwarder beside its peers",
            machine: Machine::this(&PACKAGES).await,
            notes: notes(options, self),
            goals: goals::judge(samples, plan.most_held()),
            tables: tables::tables(samples, plan),
            panels: tables::panels(samples, plan),
            samples: samples.json(Contestant::name),
        };
        hand_over(options, &report)
    }
}

fn notes(options: &Options, bench: &Bench) -> Vec<String> {
    let Bench { plan, troubles, busy, .. } = bench;
    let mut notes = vec![
        format!(
            "Namespaces and cables on one machine: device, gateway, far end. The far end is upstream and origin in one \
             process, so that no second hop hides the forwarder. The forwarder has a core for itself, both ends share \
             another. Packets may be as large as the kernel likes (segmentation is left to the cable). \
             {} repetitions, all contestants in each, each started anew; medians, and ratios within a repetition.",
            plan.repeat
        ),
        "*direct* is the same path, routed and masqueraded. The *bare splice relay* knows its target, looks at nothing \
         and logs nothing: the least that a relay in user space can do. pgw-fwd does all that it does by default: it \
         looks for the name and writes a line for every connection."
            .to_owned(),
        "CPU is the forwarder's own process, in user space and in the kernel; what the kernel does elsewhere for its \
         packets (softirq on the ends' core) is not counted, for anybody. The clock has 10 ms."
            .to_owned(),
        "Every connection begins with a TLS ClientHello that names a host. The device throws bulk away \
         without copying it (MSG_TRUNC), so that it is not what is measured; behind TLS the far end encrypts."
            .to_owned(),
        "The 50 ms are a netfilter queue in front of the far end that keeps every packet so long: one way has it all. \
         *Cold* is the first connection of a process, *warm* are later ones with a pause of 50 ms between them. Direct \
         takes two round trips: one to connect, one to be answered."
            .to_owned(),
        "*With the kernel's* adds what the machine's slab grew by for each connection, less what it grew by without a \
         forwarder: about, not exactly."
            .to_owned(),
    ];
    notes.extend(caveats::of_run(options, *busy));
    notes.extend(troubles.notes());
    notes
}
