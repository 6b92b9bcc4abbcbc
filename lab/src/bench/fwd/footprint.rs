//! What is measured once, because it does not vary: memory and descriptors, and names.

use std::net::Ipv4Addr;
use std::time::Instant;

use anyhow::Result;
use tokio::time::sleep;

use super::Bench;
use super::contestants::Contestant;
use super::programs;
use super::samples::Measure;
use super::traffic::finish;
use crate::bench::ground::{self, RESOLVER, RTT};
use crate::bench::load::Load;
use crate::bench::process::{Process, slab};
use crate::bench::stats::{median, percentile};
use crate::bench::{far, progress};
use crate::gateway::FIRST_PORT;

impl Bench {
    /// Connections that are open and say nothing.
    pub(super) async fn held(&mut self, who: Contestant) -> Result<()> {
        let running = who.start(&self.ground).await?;
        sleep(self.plan.settle).await;
        let process = running.as_ref().map(|running| running.process);
        let kernel = slab()?;
        let (pss, descriptors) = match process {
            Some(process) => (process.pss()?, process.descriptors()?),
            None => (f64::NAN, f64::NAN),
        };
        self.samples.add(who, Measure::Rest, pss);
        let mut held = self.ground.hold(who.entry())?;
        for count in self.plan.held.clone() {
            held.have(count).await?;
            sleep(self.plan.settle).await;
            let each = f64::from(u32::try_from(count)?);
            // Of both ends, and of the forwarder in between.
            self.samples.add(who, Measure::Slab(count), (slab()? - kernel) / each);
            if let Some(process) = process {
                self.samples.add(who, Measure::Pss(count), (process.pss()? - pss) / each);
                self.samples.add(
                    who,
                    Measure::Descriptors(count),
                    (process.descriptors()? - descriptors) / each,
                );
            }
        }
        held.end().await?;
        finish(running).await?;
        // The kernel gives back what was closed a moment later.
        sleep(self.plan.settle).await;
        Ok(())
    }

    /// Forwarders that do nothing.
    pub(super) async fn idle(&mut self) -> Result<()> {
        let mut children = Vec::new();
        for count in self.plan.idle {
            progress(&format!("{count} forwarders that do nothing"));
            let from = children.len();
            for port in (FIRST_PORT..).take(*count).skip(from) {
                children.push(programs::forwarder(&self.ground, port, "socks5", far::SOCKS)?);
            }
            for (port, child) in (FIRST_PORT..).zip(&mut children).skip(from) {
                ground::accepts((Ipv4Addr::LOCALHOST, port).into(), Some(child)).await?;
            }
            sleep(self.plan.settle).await;
            let all: Vec<Process> = children.iter().filter_map(|child| child.id().map(Process)).collect();
            let cpu = || all.iter().map(|process| process.cpu()).sum::<Result<f64>>();
            let (before, start) = (cpu()?, Instant::now());
            sleep(self.plan.watch).await;
            let spent = (cpu()? - before) / start.elapsed().as_secs_f64();
            let pss = all.iter().map(|process| process.pss()).sum::<Result<f64>>()?;
            self.samples.add(Contestant::FwdSocks, Measure::IdlePss(*count), pss);
            self.samples.add(Contestant::FwdSocks, Measure::IdleCpu(*count), spent * 100.0);
        }
        for child in &mut children {
            child.kill().await?;
        }
        Ok(())
    }

    /// Questions for names, near; their answers come from the cache but for the first.
    pub(super) async fn names(&mut self) -> Result<()> {
        let who = Contestant::FwdConnect;
        let running = who.start(&self.ground).await?;
        let load = Load::Names { to: RESOLVER, count: self.plan.names, fresh: false };
        let (outcome, spent) = self.costs(running.as_ref(), load).await?;
        for (measure, percent) in [(Measure::NameP50, 50), (Measure::NameP99, 99)] {
            self.samples.add(who, measure, percentile(&outcome.times, percent).unwrap_or(f64::NAN));
        }
        let count = f64::from(u32::try_from(outcome.times.len())?);
        self.samples.add(who, Measure::NameCpu, spent * 1e6 / count);
        self.ground.go_far().await?;
        let misses = Load::Names { to: RESOLVER, count: self.plan.misses, fresh: true };
        let outcome = self.ground.measure(misses).await;
        self.ground.come_near().await?;
        let trips = median(&outcome?.times).unwrap_or(f64::NAN) / (RTT.as_secs_f64() * 1e6);
        self.samples.add(who, Measure::NameMiss, trips);
        finish(running).await
    }
}
