//! The units as they run: killed, restarted, hung, and how much they take (G4, G7).

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};
use pgw_lab::Lab;
use pgw_lab::canary::{LONG, connect};
use pgw_lab::gateway::{command_lines, freeze_pid, kill_pid};
use pgw_lab::lab::eventually;
use pgw_lab::net::{C1, ORIGIN};
use pgw_lab::rest::id;
use pgw_lab::upstream::Kind;
use pgw_lab::vigil::Vigil;
use serde_json::json;

use crate::numbers;
use crate::setup::{DAEMONS, FORWARDER, in_the_lab, installed_now, is_open, on_a_machine};

crate::tests![
    g4_each_program_that_is_killed_is_started_again_and_a_port_stays_open_meanwhile,
    ten_forwarders_and_all_daemons_together_take_little,
];

async fn g4_each_program_that_is_killed_is_started_again_and_a_port_stays_open_meanwhile(
    mut lab: Lab,
) -> Result<()> {
    on_a_machine(async |machine| {
        let (rest, mapping) = installed_now(&mut lab, machine).await?;
        let vigil = Vigil::begin(C1).await?;
        for unit in DAEMONS {
            let before = in_the_lab(machine, unit).await?;
            kill_pid(before)?;
            eventually(&format!("{unit} runs again"), async || {
                let again = in_the_lab(machine, unit).await.is_ok_and(|pid| pid != before);
                Ok((again && machine.is("active", unit).await?).then_some(()))
            })
            .await?;
            is_open(&lab, C1).await?;
        }
        // And after an end in peace that somebody wished it.
        for unit in DAEMONS.into_iter().chain([FORWARDER]) {
            let before = in_the_lab(machine, unit).await?;
            machine.run(&["systemctl", "kill", "--kill-who=main", unit]).await?;
            eventually(&format!("{unit} runs again after a wish to end"), async || {
                let again = in_the_lab(machine, unit).await.is_ok_and(|pid| pid != before);
                Ok((again && machine.is("active", unit).await?).then_some(()))
            })
            .await?;
            eventually("the device is open", async || Ok(is_open(&lab, C1).await.ok())).await?;
        }
        // Who connects while no forwarder runs is not refused.
        kill_pid(in_the_lab(machine, FORWARDER).await?)?;
        connect(C1.name, (ORIGIN, 80).into(), LONG).await.context("refused between two forwarders")?;
        eventually("the device is open again", async || Ok(is_open(&lab, C1).await.ok())).await?;
        rest.wait_ready().await?;
        rest.wait_state(&mapping, "APPLIED").await?;
        // One that hangs is noticed by the manager, and replaced.
        machine.shell("mkdir -p /run/systemd/system/pgw-ui.service.d && printf '[Service]\\nWatchdogSec=1\\n' > /run/systemd/system/pgw-ui.service.d/w.conf && systemctl daemon-reload && systemctl restart pgw-ui").await?;
        let hung = in_the_lab(machine, "pgw-ui.service").await?;
        freeze_pid(hung)?;
        eventually("a program that hangs is replaced", async || {
            Ok(in_the_lab(machine, "pgw-ui.service").await.is_ok_and(|pid| pid != hung).then_some(()))
        })
        .await?;
        vigil.end(&[Kind::Squid.ip()]).await
    })
    .await
}

/// Of the daemons and ten forwarders that have nothing to do.
const MOST_KIB: u64 = 80 * 1024;

async fn ten_forwarders_and_all_daemons_together_take_little(mut lab: Lab) -> Result<()> {
    on_a_machine(async |machine| {
        let (rest, mapping) = installed_now(&mut lab, machine).await?;
        for host in 201..210 {
            let client = json!({ "name": format!("d{host}"), "ip_cidr": Ipv4Addr::new(10, 64, 0, host) });
            let client = id(&rest.post("/v1/clients", client).await?)?;
            let mapping = rest.add_mapping(&client, &mapping.proxy, 1).await?;
            rest.wait_state(&mapping, "APPLIED").await?;
        }
        let mut by_name: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for (pid, line) in command_lines()? {
            let program = line.split('\0').next().unwrap_or_default();
            let Some(name) = program.strip_prefix("/usr/bin/pgw-") else { continue };
            let entry = by_name.entry(name.to_owned()).or_default();
            *entry = (entry.0 + 1, entry.1 + proportional_kib(pid)?);
        }
        ensure!(by_name.get("fwd").is_some_and(|(count, _)| *count == 10), "{by_name:?}");
        let all: u64 = by_name.values().map(|(_, kib)| kib).sum();
        let each: Vec<String> = by_name
            .iter()
            .map(|(name, (count, kib))| format!("{count} pgw-{name} {}", numbers::mib(*kib)))
            .collect();
        let all_of_it = format!("{} ({})", numbers::mib(all), each.join(", "));
        numbers::keep(
            "3-memory",
            "memory (PSS) of all daemons and ten forwarders, idle",
            "< 80 MiB",
            &all_of_it,
        )?;
        ensure!(all < MOST_KIB, "{all} KiB: {by_name:?}");
        Ok(())
    })
    .await
}

fn proportional_kib(pid: u32) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss")?;
    Ok(line.split_whitespace().next().context("no number")?.parse()?)
}
