//! Reverse tunnels beside their peers: the visitor is the device, the tunnel's server runs on the gateway,
//! and its client at the far end, beside the origin. All take part in every repetition, one after
//! the other and each with the machine for itself.

mod contestants;
mod goals;
mod plan;
mod programs;
mod samples;
mod tables;
mod traffic;

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
    let named = |who: &Contestant| *who == Contestant::Direct || options.wants(who.name());
    let (wanted, absent): (Vec<_>, Vec<_>) =
        Contestant::ALL.into_iter().filter(named).partition(|who| who.is_installed());
    ensure!(
        wanted.len() + absent.len() > 1,
        "--only: it is none of {}",
        Contestant::ALL.map(Contestant::name).join(", ")
    );
    let ground = Ground::build(&[], None).await?;
    progress(&format!(
        "a visitor, a gateway and a far end stand; the tunnel has core {}, the ends have core {}",
        ground.cores.forwarder, ground.cores.ends
    ));
    let plan = Plan::of(options);
    let mut bench = Bench { ground, plan, samples: Samples::default(), troubles: Troubles::default(), busy };
    for who in absent {
        bench.troubles.tell(who.name(), "not installed");
    }
    for repetition in 1..=bench.plan.repeat {
        for who in &wanted {
            progress(&format!("{repetition}/{}: {}", bench.plan.repeat, who.name()));
            let done = bench.near(*who).await;
            bench.judge(*who, done)?;
        }
        bench.ground.go_far().await?;
        for who in &wanted {
            progress(&format!("{repetition}/{}, 50 ms away: {}", bench.plan.repeat, who.name()));
            let done = bench.far(*who).await;
            bench.judge(*who, done)?;
        }
        bench.ground.come_near().await?;
        bench.ground.go_far_and_lose().await?;
        for who in &wanted {
            progress(&format!("{repetition}/{}, 0.5 % lost: {}", bench.plan.repeat, who.name()));
            let done = bench.lossy(*who).await;
            bench.judge(*who, done)?;
        }
        bench.ground.lose_no_more().await?;
        for who in &wanted {
            bench.samples.fill(*who, &Measure::REPEATED, repetition);
        }
    }
    for who in wanted {
        progress(&format!("connections that say nothing: {}", who.name()));
        let done = bench.held(who).await;
        bench.judge(who, done)?;
    }
    bench.write(options).await?;
    progress(&format!("after {} s", start.elapsed().as_secs()));
    Ok(())
}

impl Bench {
    /// What goes wrong with a peer, or on a carrier beside TLS, does not end the run.
    fn judge(&mut self, who: Contestant, done: Result<()>) -> Result<()> {
        self.troubles.judge(who.name(), !matches!(who, Contestant::Direct | Contestant::Tls), done)
    }

    async fn write(&self, options: &Options) -> Result<()> {
        let Self { plan, samples, .. } = self;
        let mut machine = Machine::this(&[]).await;
        machine.versions.extend(programs::versions().await);
        let report = Report {
            name: "tunnel",
            title: "Reverse tunnels beside their peers",
            machine,
            notes: notes(options, self),
            goals: goals::judge(samples),
            tables: tables::tables(samples, plan),
            panels: tables::panels(samples),
            samples: samples.json(Contestant::name),
        };
        hand_over(options, &report)
    }
}

fn notes(options: &Options, bench: &Bench) -> Vec<String> {
    let Bench { plan, troubles, busy, .. } = bench;
    let mut notes = vec![
        format!(
            "Namespaces and cables on one machine: visitor, gateway, far end. The tunnel's server runs on the gateway, its \
             client at the far end, beside the origin that it leads to. Both programs of a tunnel share a core, which \
             they have for themselves; visitor and origin share another. Packets may be as large as the kernel likes. \
             {} repetitions, all contestants in each, each started anew; medians, and ratios within a repetition.",
            plan.repeat
        ),
        "*direct* is the same visitor and the same origin, routed by the gateway, without a tunnel. rathole without \
         encryption and bore are compared with although they encrypt nothing."
            .to_owned(),
        "CPU is that of both programs, in user space and in the kernel; what the kernel does elsewhere for their packets \
         (softirq on the ends' core) is not counted, for anybody. The clock has 10 ms."
            .to_owned(),
        "A request is 64 bytes each way on a connection that stays; a new connection is one with an answer of 512 bytes. \
         What visitors take is thrown away without copying it (MSG_TRUNC); what they give counts when the origin \
         has it."
            .to_owned(),
        "The 50 ms are a netfilter queue in front of the far end that keeps every packet so long: one way has it all. With \
         loss, five of a thousand packets on that way do not arrive, and since the kernel has not cut them yet, a lost one \
         may be up to 64 KiB: so what visitors give is measured there. \
         Tunnels that have one connection for everything are represented by pgw over QUIC, whose streams share \
         one congestion window."
            .to_owned(),
        "*Stalled*: 99 visitors ask and are answered while a hundredth has asked for a lot and reads nothing, beside the same 99 \
         alone, one after the other."
            .to_owned(),
        "Memory is what both programs grew by, for each connection that is open and says nothing.".to_owned(),
    ];
    notes.extend(caveats::of_run(options, *busy));
    notes.extend(troubles.notes());
    notes
}
