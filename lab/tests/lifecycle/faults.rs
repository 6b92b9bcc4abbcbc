//! What goes wrong on gateways: somebody else's firewall, ports and disks (G8).

use anyhow::{Context as _, Result, ensure};
use pgw_lab::Lab;
use pgw_lab::lab::eventually;
use pgw_lab::net::{C1, C2};
use pgw_lab::rest::AGENT;
use reqwest::Method;

use crate::setup::{installed_now, is_open, on_a_machine};

crate::tests![
    g8_the_distributions_firewall_is_restarted_and_anothers_drops_what_is_forwarded,
    a_port_that_is_taken_is_told_in_one_line_and_not_tried_for_ever,
    a_full_disk_and_a_missing_interface_open_nobody,
    a_clock_that_is_decades_off_opens_nobody_and_closes_nobody,
];

async fn g8_the_distributions_firewall_is_restarted_and_anothers_drops_what_is_forwarded(
    mut lab: Lab,
) -> Result<()> {
    on_a_machine(async |machine| {
        let (rest, _mapping) = installed_now(&mut lab, machine).await?;
        rest.add_client(C2).await?;
        for flush in [&["systemctl", "restart", "nftables"][..], &["nft", "flush", "ruleset"]] {
            machine.run(flush).await?;
            eventually("the rules are back", async || {
                let rules = machine.run(&["nft", "list", "tables"]).await?;
                Ok((rules.contains("table ip pgw") && rules.contains("table inet pgw_filter")).then_some(()))
            })
            .await?;
            is_open(&lab, C1).await?;
            ensure!(lab.seen_as(C2, "http://origin/").await.is_err(), "a closed device got out");
        }
        // As a container engine sets it up: what is forwarded is dropped, unless it is one's own.
        machine.shell("systemctl restart nftables; nft add table ip filter; nft 'add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'").await?;
        is_open(&lab, C1).await
    })
    .await
}

async fn a_port_that_is_taken_is_told_in_one_line_and_not_tried_for_ever(mut lab: Lab) -> Result<()> {
    on_a_machine(async |machine| {
        let (_rest, _mapping) = installed_now(&mut lab, machine).await?;
        for (unit, setting, port) in [
            ("pgw-api.service", "PGW_API_LISTEN=0.0.0.0", 8080),
            ("pgw-agent.service", "PGW_AGENT_LISTEN=127.0.0.1", 9090),
            ("pgw-ui.service", "PGW_UI_LISTEN=0.0.0.0", 8081),
            ("pgw-tunneld.service", "PGW_TUNNEL_LISTEN=0.0.0.0", 8443),
        ] {
            machine.run(&["systemctl", "stop", unit]).await?;
            // A dollar of the line is two to systemd.
            let squatter = format!(
                "$$s = IO::Socket::INET->new(Listen => 5, LocalPort => {port}, ReuseAddr => 1) or die; sleep"
            );
            let unit_name = format!("--unit=squatter-{port}");
            machine
                .run(&["systemd-run", "--quiet", &unit_name, "perl", "-MIO::Socket::INET", "-e", &squatter])
                .await?;
            eventually("the port is taken", async || {
                let listening = machine.run(&["ss", "--listening", "--tcp", "--numeric"]).await?;
                Ok(listening.contains(&format!(":{port} ")).then_some(()))
            })
            .await?;
            let refused = machine.finish(&["systemctl", "start", unit]).await?;
            ensure!(!refused.status.success(), "{unit} runs although its port is taken");
            machine.wait(unit, "failed").await?;
            let said = machine.journal(unit).await?;
            let told = format!("{setting}:{port} cannot be listened on");
            let lines = said.lines().filter(|line| line.contains(&told)).count();
            ensure!(lines == 1, "{unit} said it {lines} times: {said}");
            let doctor = machine.finish(&["pgw", "doctor"]).await?;
            for words in [format!("{unit} has failed"), format!("{port} is taken by perl")] {
                ensure!(doctor.stdout.contains(&words), "doctor does not say {words:?}: {}", doctor.stdout);
            }
            ensure!(doctor.status.code() == Some(1), "doctor ended with {}", doctor.status);
            is_open(&lab, C1).await?;
            machine.shell(&format!("systemctl stop squatter-{port}; systemctl start {unit}")).await?;
            machine.wait(unit, "active").await?;
        }
        Ok(())
    })
    .await
}

async fn a_full_disk_and_a_missing_interface_open_nobody(mut lab: Lab) -> Result<()> {
    on_a_machine(async |machine| {
        let (rest, mapping) = installed_now(&mut lab, machine).await?;
        rest.add_client(C2).await?;
        // A disk of its own for the state, and not a byte left on it.
        machine
            .shell(
                "systemctl stop pgw.target; cp -a /var/lib/pgw /run/state; \
                 mount -t tmpfs -o size=4m,mode=0711 state /var/lib/pgw; \
                 cp -a /run/state/. /var/lib/pgw/; systemctl start pgw.target",
            )
            .await?;
        rest.wait_ready().await?;
        rest.wait_state(&mapping, "APPLIED").await?;
        machine.shell("cat /dev/zero > /var/lib/pgw/full 2> /dev/null || true").await?;
        is_open(&lab, C1).await?;
        machine.shell("systemctl restart pgw.target").await?;
        is_open(&lab, C1).await?;
        ensure!(lab.seen_as(C2, "http://origin/").await.is_err(), "a closed device got out");
        machine.shell("rm /var/lib/pgw/full").await?;
        rest.wait_ready().await?;
        rest.wait_state(&mapping, "APPLIED").await?;

        // Somebody mistypes the interface of the LAN: a setting that can be used, and is wrong (G14).
        machine.shell("echo PGW_LAN_IF=ens91 >> /etc/pgw/pgw.env && systemctl restart pgw-agent").await?;
        eventually("the agent says that the interface is not there", async || {
            let status = rest.send(Method::GET, &format!("{AGENT}/agent/status"), None).await?;
            Ok(status.text.contains("ens91").then_some(()))
        })
        .await?;
        machine.shell("sed -i /ens91/d /etc/pgw/pgw.env && systemctl restart pgw-agent").await?;
        eventually("the rules are the right ones again", async || Ok(is_open(&lab, C1).await.ok())).await?;
        rest.wait_state(&mapping, "APPLIED").await?;
        ensure!(lab.seen_as(C2, "http://origin/").await.is_err(), "a closed device got out");
        Ok(())
    })
    .await
}

async fn a_clock_that_is_decades_off_opens_nobody_and_closes_nobody(mut lab: Lab) -> Result<()> {
    on_a_machine(async |machine| {
        let (rest, mapping) = installed_now(&mut lab, machine).await?;
        rest.add_client(C2).await?;
        // The machine has its host's clock: what the programs are told is another. What is measured with
        // (the monotonic one) no machine gets wrong.
        let clock = "[Service]\nEnvironment=LD_PRELOAD=$(ls /usr/lib/*/faketime/libfaketime.so.1) \
                     FAKETIME=-30y DONT_FAKE_MONOTONIC=1 FAKETIME_DISABLE_SHM=1\n";
        let units = "pgw-api pgw-agent pgw-ui pgw-tunneld pgw-fwd@";
        machine
            .shell(&format!(
                "for unit in {units}; do mkdir -p /run/systemd/system/$unit.service.d; \
                 printf \"{}\" > /run/systemd/system/$unit.service.d/clock.conf; done",
                clock.replace('\n', "\\n")
            ))
            .await?;
        for (restart, then) in [
            ("systemctl daemon-reload", "in the past"),
            ("rm /run/systemd/system/pgw-*.service.d/clock.conf; systemctl daemon-reload", "set right"),
        ] {
            machine.shell(&format!("{restart}; systemctl restart pgw.target 'pgw-fwd@*'")).await?;
            rest.wait_ready().await.context(then)?;
            rest.wait_state(&mapping, "APPLIED").await.context(then)?;
            is_open(&lab, C1).await.context(then)?;
            ensure!(lab.seen_as(C2, "http://origin/").await.is_err(), "a closed device got out, {then}");
        }
        Ok(())
    })
    .await
}
