//! What is measured again and again, near, far and with loss; and memory, once.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::sleep;

use super::Bench;
use super::contestants::{Contestant, Running};
use super::plan::SIZES;
use super::programs;
use super::samples::Measure;
use crate::bench::load::{Load, Outcome};
use crate::bench::stats::percentile;

const GIB: f64 = (1_u64 << 30) as f64;
const LONG: Duration = Duration::from_secs(30);
/// What the measurement before has left on the way shall not be charged to the next one.
const TIDIED_UP: Duration = Duration::from_millis(200);
/// For a session over a distance: its connections are made one after the other.
const READY_FAR: Duration = Duration::from_millis(600);

impl Bench {
    /// Bulk comes last: what is left of it on the way when its visitors are gone still costs something.
    pub(super) async fn near(&mut self, who: Contestant) -> Result<()> {
        let running = self.start(who).await?;
        let (to, bulk) = (who.entry(), self.plan.bulk);
        for (connections, rate, p50, p99) in [
            (1, Measure::Asked1, Measure::P50At1, Measure::P99At1),
            (32, Measure::Asked32, Measure::P50At32, Measure::P99At32),
        ] {
            let outcome = self.requests(who, connections, 0).await?;
            self.samples.add(who, rate, outcome.measured / outcome.seconds);
            self.samples.add(who, p50, percentile(&outcome.times, 50).unwrap_or(f64::NAN));
            self.samples.add(who, p99, percentile(&outcome.times, 99).unwrap_or(f64::NAN));
        }
        for size in SIZES.into_iter().filter(|_| who.has_datagrams()) {
            let load = Load::Datagrams { to: who.datagrams(), size, count: self.plan.datagrams };
            let outcome = self.ground.measure(load).await?;
            self.samples.add(who, Measure::Whole(size), outcome.measured / outcome.all);
            let p50 = percentile(&outcome.times, 50).unwrap_or(f64::NAN);
            self.samples.add(who, Measure::DatagramP50(size), p50);
        }
        let load = Load::Rate { to, at_once: self.plan.at_once, time: self.plan.rate };
        let (outcome, spent) = self.costs(who, running.as_ref(), load).await?;
        self.samples.add(who, Measure::Rate, outcome.measured / outcome.seconds);
        self.samples.add(who, Measure::CpuConnection, spent * 1e6 / outcome.all);
        let free = self.requests(who, 99, 0).await?.measured;
        self.samples.add(who, Measure::Free, free);
        let stalled = self.requests(who, 99, 1).await?.measured;
        self.samples.add(who, Measure::Stalled, stalled);
        for (streams, speed, cost) in
            [(1, Measure::Down1, Measure::CpuDown1), (8, Measure::Down8, Measure::CpuDown8)]
        {
            let load = Load::Bulk { to, streams, time: bulk };
            self.bytes(who, running.as_ref(), load, speed, Some(cost)).await?;
        }
        finish(running).await?;
        // What visitors gave and nobody has taken yet would be charged to the next one: each has
        // programs of its own.
        for (streams, speed, cost) in [(1, Measure::Up1, Measure::CpuUp1), (8, Measure::Up8, Measure::CpuUp8)]
        {
            let running = self.start(who).await?;
            let load = Load::Upload { to, streams, time: bulk };
            self.bytes(who, running.as_ref(), load, speed, Some(cost)).await?;
            finish(running).await?;
        }
        Ok(())
    }

    /// The far end is far away already.
    pub(super) async fn far(&mut self, who: Contestant) -> Result<()> {
        let running = self.start(who).await?;
        sleep(READY_FAR).await;
        let (to, time) = (who.entry(), self.plan.bulk_far);
        let outcome = self.requests(who, 32, 0).await?;
        for (measure, percent) in [(Measure::FarP50, 50), (Measure::FarP99, 99)] {
            self.samples.add(who, measure, percentile(&outcome.times, percent).unwrap_or(f64::NAN) / 1e3);
        }
        let load = Load::Rate { to, at_once: self.plan.at_once, time: self.plan.rate };
        let (outcome, _) = self.costs(who, running.as_ref(), load).await?;
        self.samples.add(who, Measure::FarRate, outcome.measured / outcome.seconds);
        self.bytes(who, running.as_ref(), Load::Bulk { to, streams: 8, time }, Measure::FarDown8, None)
            .await?;
        self.bytes(who, running.as_ref(), Load::Upload { to, streams: 8, time }, Measure::FarUp8, None)
            .await?;
        finish(running).await
    }

    /// And some packets are lost on their way.
    pub(super) async fn lossy(&mut self, who: Contestant) -> Result<()> {
        let running = self.start(who).await?;
        sleep(READY_FAR).await;
        let outcome = self.requests(who, 32, 0).await?;
        self.samples.add(who, Measure::LossyP99, percentile(&outcome.times, 99).unwrap_or(f64::NAN) / 1e3);
        let load = Load::Upload { to: who.entry(), streams: 8, time: self.plan.bulk_far };
        self.bytes(who, running.as_ref(), load, Measure::LossyUp8, None).await?;
        finish(running).await
    }

    /// Connections that are open and say nothing.
    pub(super) async fn held(&mut self, who: Contestant) -> Result<()> {
        let Some(running) = self.start(who).await? else { return Ok(()) };
        sleep(self.plan.settle).await;
        let pss = || running.both()?.iter().map(|process| process.pss()).sum::<Result<f64>>();
        let rest = pss()?;
        self.samples.add(who, Measure::Rest, rest);
        let mut held = self.ground.hold(who.entry())?;
        held.have(self.plan.held).await?;
        sleep(self.plan.settle).await;
        let each = f64::from(u32::try_from(self.plan.held)?);
        self.samples.add(who, Measure::Pss, (pss()? - rest) / each);
        held.end().await?;
        running.end().await
    }

    async fn start(&mut self, who: Contestant) -> Result<Option<Running>> {
        programs::ports_are_free().await?;
        let running = who.start(&self.ground).await?;
        // The first connections of a process are not like the others.
        let first = Load::OneByOne { to: who.entry(), count: 10, time: LONG, rest: Duration::ZERO };
        let outcome = self.ground.measure(first).await?;
        ensure!(outcome.failed == 0, "{} of its first connections failed", outcome.failed);
        Ok(running)
    }

    async fn bytes(
        &mut self,
        who: Contestant,
        running: Option<&Running>,
        load: Load,
        speed: Measure,
        cost: Option<Measure>,
    ) -> Result<()> {
        sleep(TIDIED_UP).await;
        let (outcome, spent) = self.costs(who, running, load).await?;
        self.samples.add(who, speed, outcome.measured / outcome.seconds);
        if let Some(cost) = cost {
            self.samples.add(who, cost, spent / (outcome.all / GIB));
        }
        Ok(())
    }

    async fn requests(&mut self, who: Contestant, connections: usize, stalled: usize) -> Result<Outcome> {
        let load = Load::Requests { to: who.entry(), connections, stalled, time: self.plan.requests };
        self.ground
            .measure(load)
            .await
            .with_context(|| format!("{connections} connections, {stalled} stalled"))
    }

    /// Measures, and gives the seconds of the processor that both programs took for it.
    async fn costs(
        &mut self,
        who: Contestant,
        running: Option<&Running>,
        load: Load,
    ) -> Result<(Outcome, f64)> {
        let spent = || match running {
            Some(running) => running.both()?.iter().map(|process| process.cpu()).sum::<Result<f64>>(),
            None => Ok(f64::NAN),
        };
        let before = spent()?;
        let outcome = self.ground.measure(load).await?;
        let spent = spent()? - before;
        if outcome.failed > 0 {
            self.troubles.tell(who.name(), &format!("{} connections failed", outcome.failed));
        }
        Ok((outcome, spent))
    }
}

async fn finish(running: Option<Running>) -> Result<()> {
    match running {
        Some(running) => running.end().await,
        None => Ok(()),
    }
}
