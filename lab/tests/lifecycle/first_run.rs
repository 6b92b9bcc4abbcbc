//! From `apt install` to a device that is open, and what the units are.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use pgw_lab::Lab;
use pgw_lab::lab::eventually;
use pgw_lab::machine::{Machine, package};
use pgw_lab::net::C1;
use pgw_lab::rest::{Rest, UI};

use crate::numbers;
use crate::setup::{DAEMONS, FORWARDER, first_run, is_open, on_a_machine, open};

crate::tests![
    the_package_is_installed_and_serves_and_a_device_is_opened,
    a_tunnels_client_runs_as_soon_as_it_is_told_where_to,
];

/// From the start of `apt install` to services that answer.
const INSTALLED_WITHIN: Duration = Duration::from_secs(30);
/// The other end's, of a package of its own.
const CONNECT: &str = "pgw-connect.service";
const LARGEST_KIB: u64 = 40 * 1024;

async fn the_package_is_installed_and_serves_and_a_device_is_opened(mut lab: Lab) -> Result<()> {
    on_a_machine(async |machine| {
        machine.boot().await?;
        let began = Instant::now();
        let told = machine.install(&package("pgw", false)?).await?;
        machine.lend(&[8081]).await?;
        for unit in DAEMONS {
            ensure!(machine.is("active", unit).await?, "{unit} does not run after the installation: {told}");
        }
        let status = Rest::status(&format!("{UI}/healthz")).await?;
        ensure!(status == 200, "{UI}/healthz is answered {status}");
        let took = began.elapsed();
        ensure!(took < INSTALLED_WITHIN, "it took {took:?} from apt install to an answer");
        let size = machine.run(&["dpkg-query", "--show", "--showformat=${Installed-Size}", "pgw"]).await?;
        let size: u64 = size.trim().parse()?;
        ensure!(size < LARGEST_KIB, "{size} KiB are installed");
        let took = format!("{:.1} s", took.as_secs_f32());
        numbers::keep(
            "1-install",
            "from the start of `apt install` to services that answer",
            "< 30 s",
            &took,
        )?;
        numbers::keep("2-size", "installed size of `pgw`", "< 40 MiB", &numbers::mib(size))?;

        // Debconf's guess, with nobody to ask.
        let guessed = machine.shell("cat /etc/pgw/interfaces.env").await?;
        ensure!(guessed.contains("PGW_LAN_IF=ens19\nPGW_WAN_IF=eth0"), "guessed: {guessed}");

        for unit in ["pgw-api", "pgw-agent", "pgw-ui", "pgw-tunneld", "pgw-boot", "pgw-fwd@"] {
            is_well_made(machine, unit).await?;
        }

        let rest = first_run(machine).await?;
        open(&mut lab, &rest, C1).await?;

        // The command line finds gateway and token by itself, and has its pages and completions.
        let clients = machine.run(&["pgw", "client", "list"]).await?;
        ensure!(clients.contains(&C1.ip.to_string()), "pgw client list said {clients}");
        machine
            .shell(
                "test -s /usr/share/man/man1/pgw.1.gz && test -s /usr/share/bash-completion/completions/pgw",
            )
            .await?;

        let told = machine.run(&["pgw", "doctor", "--all"]).await?;
        ensure!(told.contains("started at boot, and none has failed"), "doctor said {told}");
        may_do_little(machine).await?;

        // By hand, as an operator does it.
        machine.run(&["systemctl", "stop", FORWARDER]).await?;
        machine.run(&["systemctl", "start", FORWARDER]).await?;
        machine.wait(FORWARDER, "active").await?;
        is_open(&lab, C1).await?;
        let refused = machine.finish(&["systemctl", "start", "pgw-fwd@15002"]).await?;
        ensure!(!refused.status.success(), "a forwarder without a flag file runs");
        let said = machine.journal("pgw-fwd@15002").await?;
        let lines: Vec<&str> = said.lines().filter(|line| line.contains("pgw-fwd: ")).collect();
        ensure!(
            lines.len() == 1
                && lines
                    .iter()
                    .all(|line| line.contains("the flag file /var/lib/pgw/ports/15002 cannot be read")),
            "it said {said}"
        );
        Ok(())
    })
    .await
}

/// The service manager understands all of it, and what it leaves open is little.
async fn is_well_made(machine: &Machine, unit: &str) -> Result<()> {
    let path = format!("/usr/lib/systemd/system/{unit}.service");
    let verified = machine.run(&["systemd-analyze", "verify", "--man=no", &path]).await?;
    ensure!(verified.trim().is_empty(), "{unit}: {verified}");
    // In tenths: 2.0. Whoever is above ends with an error.
    machine
        .run(&["systemd-analyze", "security", "--offline=yes", "--threshold=20", "--no-pager", &path])
        .await
        .map(drop)
}

/// The API's user has forwarders started and stopped, and nothing else.
async fn may_do_little(machine: &Machine) -> Result<()> {
    let as_api = async |words: &[&str]| {
        let call =
            ["setpriv", "--reuid=pgw", "--regid=pgw", "--init-groups", "systemctl", "--no-ask-password"];
        machine.finish(&[&call[..], words].concat()).await
    };
    let allowed = as_api(&["restart", FORWARDER]).await?;
    ensure!(allowed.status.success(), "it may not restart a forwarder: {}", allowed.stderr);
    for refused in [
        &["stop", "pgw-agent.service"][..],
        &["restart", "nftables.service"],
        &["stop", "pgw-fwd@all.service"],
        &["kill", FORWARDER],
        &["mask", FORWARDER],
        &["daemon-reload"],
        &["poweroff"],
    ] {
        let done = as_api(refused).await?;
        ensure!(!done.status.success(), "the API's user may {}", refused.join(" "));
    }
    machine.wait(FORWARDER, "active").await
}

/// On a machine that has nothing else of pgw.
async fn a_tunnels_client_runs_as_soon_as_it_is_told_where_to(_lab: Lab) -> Result<()> {
    on_a_machine(async |machine| {
        machine.boot().await?;
        machine.install(&package("pgw-connect", false)?).await?;
        ensure!(machine.is("inactive", CONNECT).await?, "it runs with nothing to do");
        is_well_made(machine, "pgw-connect").await?;
        machine.shell("printf 'server: 203.0.113.99\\nclient: {}\\n' > /etc/pgw-connect/config.yaml").await?;
        let _it_may_fail_at_once = machine.finish(&["systemctl", "start", CONNECT]).await?;
        machine.wait(CONNECT, "failed").await?;
        let said = machine.journal(CONNECT).await?;
        ensure!(said.lines().filter(|line| line.contains("cannot be used")).count() == 1, "it said {said}");
        let (pin, code) = ("0".repeat(64), "5".repeat(64));
        let config =
            format!("server: 203.0.113.99\\nca: sha256:{pin}\\nenroll: {code}\\nclient: {{id: pi}}\\n");
        machine
            .shell(&format!(
                "printf '{config}' > /etc/pgw-connect/config.yaml; chmod 0600 /etc/pgw-connect/config.yaml; \
                 systemctl start {CONNECT}"
            ))
            .await?;
        eventually("it tries", async || {
            Ok(machine.journal(CONNECT).await?.contains("cannot be reached").then_some(()))
        })
        .await?;
        ensure!(machine.is("active", CONNECT).await?, "{}", machine.journal(CONNECT).await?);
        machine.run(&["apt-get", "purge", "--yes", "--quiet", "pgw-connect"]).await?;
        machine
            .shell("! ls -d /etc/pgw-connect /var/lib/pgw-connect /var/lib/private/pgw-connect 2> /dev/null")
            .await?;
        Ok(())
    })
    .await
}
