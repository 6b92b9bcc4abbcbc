//! What is measured again and again: bytes and connections, near and far.

use std::time::Duration;

use anyhow::Result;

use super::Bench;
use super::contestants::{Contestant, Running};
use super::samples::Measure;
use crate::bench::ground::RTT;
use crate::bench::load::{Load, Outcome};
use crate::bench::stats::{median, percentile};

const GIB: f64 = (1_u64 << 30) as f64;
const LONG: Duration = Duration::from_secs(30);

impl Bench {
    /// Each measurement has a process of its own: what one still has to tidy up would be charged to
    /// the next.
    pub(super) async fn near(&mut self, who: Contestant) -> Result<()> {
        let to = who.entry();
        for (streams, speed, cost) in [(1, Measure::Bulk1, Measure::Cpu1), (8, Measure::Bulk8, Measure::Cpu8)]
        {
            let (outcome, spent) = self.alone(who, Load::Bulk { to, streams, time: self.plan.bulk }).await?;
            self.samples.add(who, speed, outcome.measured / outcome.seconds);
            self.samples.add(who, cost, spent / (outcome.all / GIB));
        }
        let load = Load::Rate { to, at_once: self.plan.at_once, time: self.plan.rate };
        let (outcome, spent) = self.alone(who, load).await?;
        self.samples.add(who, Measure::Rate, outcome.measured / outcome.seconds);
        self.samples.add(who, Measure::CpuConnection, spent * 1e6 / outcome.all);
        let load = Load::OneByOne { to, count: self.plan.one_by_one, time: LONG, rest: Duration::ZERO };
        let (outcome, _spent) = self.alone(who, load).await?;
        for (measure, percent) in [(Measure::P50, 50), (Measure::P99, 99)] {
            self.samples.add(who, measure, percentile(&outcome.times, percent).unwrap_or(f64::NAN));
        }
        let (outcome, _spent) = self.alone(who, Load::End { to, count: self.plan.ends }).await?;
        self.samples.add(who, Measure::End, median(&outcome.times).unwrap_or(f64::NAN));
        Ok(())
    }

    async fn alone(&mut self, who: Contestant, load: Load) -> Result<(Outcome, f64)> {
        let running = who.start(&self.ground).await?;
        // The first connections of a process are not like the others.
        let first = Load::OneByOne { to: who.entry(), count: 20, time: LONG, rest: Duration::ZERO };
        self.ground.measure(first).await?;
        let measured = self.costs(running.as_ref(), load).await?;
        self.note_failures(who, &measured.0);
        finish(running).await?;
        Ok(measured)
    }

    /// The far end is far away already.
    pub(super) async fn far(&mut self, who: Contestant) -> Result<()> {
        let running = who.start(&self.ground).await?;
        let to = who.entry();
        // Between two visits there is time to be ready for the next one.
        let visits = |count| Load::OneByOne { to, count, time: LONG, rest: RTT };
        let trips = |times: &[f64]| median(times).unwrap_or(f64::NAN) / (RTT.as_secs_f64() * 1e6);
        let first = self.ground.measure(visits(1)).await?;
        self.samples.add(who, Measure::Cold, trips(&first.times));
        self.ground.measure(visits(3)).await?;
        let warm = self.ground.measure(visits(self.plan.warm)).await?;
        self.note_failures(who, &warm);
        self.samples.add(who, Measure::Warm, trips(&warm.times));
        for (measure, percent) in [(Measure::FarP50, 50), (Measure::FarP99, 99)] {
            self.samples.add(who, measure, percentile(&warm.times, percent).unwrap_or(f64::NAN) / 1e3);
        }
        let load = Load::Rate { to, at_once: self.plan.at_once_far, time: self.plan.rate_far };
        let outcome = self.ground.measure(load).await?;
        self.note_failures(who, &outcome);
        self.samples.add(who, Measure::FarRate, outcome.measured / outcome.seconds);
        finish(running).await
    }

    /// Measures, and gives the seconds of the processor that the forwarder took for it.
    pub(super) async fn costs(&self, running: Option<&Running>, load: Load) -> Result<(Outcome, f64)> {
        let Some(Running { process, .. }) = running else {
            return Ok((self.ground.measure(load).await?, f64::NAN));
        };
        let before = process.cpu()?;
        let outcome = self.ground.measure(load).await?;
        Ok((outcome, process.cpu()? - before))
    }

    fn note_failures(&mut self, who: Contestant, outcome: &Outcome) {
        if outcome.failed > 0 {
            self.troubles.tell(who.name(), &format!("{} connections failed", outcome.failed));
        }
    }
}

pub(super) async fn finish(running: Option<Running>) -> Result<()> {
    match running {
        Some(running) => running.end().await,
        None => Ok(()),
    }
}
