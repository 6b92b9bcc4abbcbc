//! What the matrix is played on: a gateway with everything that can be killed, frozen or filled,
//! and how all of it is brought back.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;

use super::foreign::{self, Windows};
use super::operator::Operator;
use super::script::{Operation, ROUTES};
use crate::command;
use crate::gateway::{self, Program, STATE, forwarders};
use crate::lab::{Lab, Ready};
use crate::net::{Device, GATEWAY};
use crate::rest::text;
use crate::upstream::Kind;

/// A disk of its own, small enough to be filled.
const DISK: &str = "size=24m";
const BLOCK: usize = 64 * 1024;

pub(super) struct Stage {
    pub(super) lab: Lab,
    pub(super) ready: Ready,
    pub(super) operator: Operator,
    pub(super) windows: Windows,
    calls: JoinSet<()>,
    frozen: Vec<Program>,
}

impl Stage {
    pub(super) async fn build(mut lab: Lab) -> Result<Self> {
        fs::create_dir_all(STATE)?;
        command::ok(GATEWAY, &["mount", "-t", "tmpfs", "-o", DISK, "lab", STATE]).await?;
        for route in ROUTES {
            lab.upstream(route.kind).await?;
        }
        let ready = lab.gateway().await?;
        let operator = Operator::begin(ready.rest.clone()).await?;
        let (windows, calls) = (Windows::default(), JoinSet::new());
        Ok(Self { lab, ready, operator, windows, calls, frozen: Vec::new() })
    }

    pub(super) async fn perform(&mut self, operation: Operation) -> Result<()> {
        match operation {
            Operation::Register(_)
            | Operation::Unregister(_)
            | Operation::Map(_)
            | Operation::Unmap(_)
            | Operation::Prefer(..)
            | Operation::SwitchMapping(..)
            | Operation::SwitchProxy(..) => self.operator.perform(operation, &mut self.calls).await,
            Operation::KillProgram(program) if self.runs(program) => {
                self.ready.gateway.kill(program).await?;
                self.frozen.retain(|frozen| *frozen != program);
            }
            Operation::StopProgram(program) if self.runs(program) => {
                self.thaw(program)?;
                self.ready.gateway.stop(program).await?;
            }
            Operation::FreezeProgram(program) if self.runs(program) => {
                self.ready.gateway.freeze(program)?;
                self.frozen.push(program);
            }
            Operation::ReviveProgram(program) => self.revive(program)?,
            Operation::KillProgram(_) | Operation::StopProgram(_) | Operation::FreezeProgram(_) => {}
            Operation::KillForwarder(device) => each_forwarder(device, gateway::kill_pid)?,
            Operation::FreezeForwarder(device) => each_forwarder(device, gateway::freeze_pid)?,
            Operation::ThawForwarder(device) => each_forwarder(device, gateway::thaw_pid)?,
            Operation::KillUpstream(kind) => self.kill_upstream(kind).await?,
            Operation::FreezeUpstream(kind) if self.lab.upstreams.contains_key(&kind) => {
                self.lab.freeze_upstream(kind)?;
            }
            Operation::FreezeUpstream(_) => {}
            Operation::ReviveUpstream(kind) => {
                self.kill_upstream(kind).await?;
                self.lab.upstream(kind).await?;
            }
            Operation::FlushTables | Operation::ForgetDevice(_) => {
                let heals = self.runs(Program::Agent) && !self.frozen.contains(&Program::Agent);
                self.windows.change(operation, heals).await?;
            }
            Operation::FlushUnseen => foreign::delete_tables().await?,
            Operation::FillDisk => fill_disk()?,
            Operation::EmptyDisk => empty_disk()?,
        }
        self.windows.look().await.map(drop)
    }

    /// Room on the disk, every program and upstream there and awake; what the operator has asked
    /// for stays as it is.
    pub(super) async fn repair(&mut self) -> Result<()> {
        empty_disk()?;
        for program in Program::ALL {
            self.revive(program)?;
        }
        for pid in forwarders()?.into_values().flatten() {
            // One that has ended meanwhile needs no thaw.
            let _gone = gateway::thaw_pid(pid);
        }
        for route in ROUTES {
            self.kill_upstream(route.kind).await?;
            self.lab.upstream(route.kind).await?;
        }
        for program in Program::ALL {
            self.ready.gateway.answers(program).await?;
        }
        while self.calls.join_next().await.is_some() {}
        self.windows.healed().await
    }

    fn runs(&mut self, program: Program) -> bool {
        self.ready.gateway.forget_ended();
        self.ready.gateway.is_running(program)
    }

    fn thaw(&mut self, program: Program) -> Result<()> {
        self.frozen.retain(|frozen| *frozen != program);
        self.ready.gateway.thaw(program)
    }

    fn revive(&mut self, program: Program) -> Result<()> {
        if self.runs(program) { self.thaw(program) } else { self.ready.gateway.launch(program, &[]) }
    }

    async fn kill_upstream(&mut self, kind: Kind) -> Result<()> {
        if self.lab.upstreams.contains_key(&kind) {
            self.lab.kill_upstream(kind).await?;
        }
        Ok(())
    }
}

/// The device's forwarder, if it has one: by the port that stands in its flag file.
fn each_forwarder(device: Device, act: fn(u32) -> Result<()>) -> Result<()> {
    for (port, pids) in forwarders()? {
        if flag_is_of(port, device) {
            for pid in pids {
                // It may have ended meanwhile.
                let _gone = act(pid);
            }
        }
    }
    Ok(())
}

fn flag_is_of(port: u16, device: Device) -> bool {
    let flag = fs::read(gateway::flag_file(port)).unwrap_or_default();
    let flag: serde_json::Value = serde_json::from_slice(&flag).unwrap_or_default();
    flag.get("client").is_some_and(|client| text(client, "name") == device.name)
}

fn ballast() -> PathBuf {
    PathBuf::from(STATE).join("ballast")
}

fn fill_disk() -> Result<()> {
    let mut file = fs::File::options().create(true).append(true).open(ballast())?;
    let block = vec![0; BLOCK];
    loop {
        match file.write(&block) {
            Ok(_written) => {}
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(()),
            Err(error) => return Err(error).context("the disk cannot be filled"),
        }
    }
}

fn empty_disk() -> Result<()> {
    match fs::remove_file(ballast()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context("the disk cannot be emptied")
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
