//! Removed, purged, installed again.

use anyhow::{Result, ensure};
use pgw_lab::Lab;
use pgw_lab::machine::{Machine, package};
use pgw_lab::net::C1;
use pgw_lab::rest::Rest;

use crate::setup::{DAEMONS, FORWARDER, installed_now, is_open, on_a_machine, token};

crate::tests![a_removed_package_says_what_becomes_of_the_rules_and_a_purged_one_leaves_nothing];

async fn a_removed_package_says_what_becomes_of_the_rules_and_a_purged_one_leaves_nothing(
    mut lab: Lab,
) -> Result<()> {
    on_a_machine(async |machine| {
        let (_rest, mapping) = installed_now(&mut lab, machine).await?;
        let told = machine.run(&["apt-get", "remove", "--yes", "--quiet", "pgw"]).await?;
        let said: Vec<&str> = told.lines().filter(|line| line.starts_with("pgw: ")).collect();
        ensure!(said.len() == 1 && said.iter().all(|line| line.contains("DIRECTLY")), "it said {told}");
        ensure!(!rules(machine).await?.contains("pgw"), "rules are left");
        for unit in DAEMONS.into_iter().chain([FORWARDER]) {
            ensure!(!machine.is("active", unit).await?, "{unit} still runs");
        }
        // As before: the LAN is an ordinary one, with the operator's own rules.
        let seen = lab.seen_as(C1, "http://origin/").await?;
        ensure!(seen == C1.direct.to_string(), "seen as {seen}");
        machine.shell("test -e /var/lib/pgw/pgw.db && test -e /etc/pgw/pgw.env").await?;

        // Installed again, it goes on where it was.
        machine.install(&package("pgw", false)?).await?;
        let rest = Rest::new(token(machine).await?)?;
        rest.wait_ready().await?;
        rest.wait_state(&mapping, "APPLIED").await?;
        is_open(&lab, C1).await?;

        machine.run(&["apt-get", "purge", "--yes", "--quiet", "pgw"]).await?;
        ensure!(!rules(machine).await?.contains("pgw"), "rules are left");
        let left = machine
            .shell(
                "find / -xdev \\( -path /proc -o -path /sys -o -path /var/log/journal -o -path /root -o -path /var/log/apt \\) -prune -o -name '*pgw*' -print; \
                 getent passwd pgw pgw-fwd pgw-tunnel || true; debconf-show pgw || true",
            )
            .await?;
        ensure!(left.trim().is_empty(), "left: {left}");

        // Preseeded, it asks and guesses nothing.
        machine.shell("printf 'pgw pgw/lan-interface string lan9\\npgw pgw/wan-interface string wan9\\n' | debconf-set-selections").await?;
        machine.install(&package("pgw", false)?).await?;
        let answers = machine.shell("cat /etc/pgw/interfaces.env").await?;
        ensure!(answers.contains("PGW_LAN_IF=lan9\nPGW_WAN_IF=wan9\n"), "{answers}");
        // What the administrator writes there is kept.
        machine.shell("sed -i s/lan9/ens19/ /etc/pgw/interfaces.env && dpkg-reconfigure pgw").await?;
        let answers = machine.shell("cat /etc/pgw/interfaces.env").await?;
        ensure!(answers.contains("PGW_LAN_IF=ens19\nPGW_WAN_IF=wan9\n"), "{answers}");
        Ok(())
    })
    .await
}

async fn rules(machine: &Machine) -> Result<String> {
    machine.run(&["nft", "list", "ruleset"]).await
}
