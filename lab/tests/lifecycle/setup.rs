//! What the tests begin with: a gateway on which the package was installed, and a device that is
//! open through its upstream.

use std::ops::AsyncFnOnce;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use pgw_lab::Lab;
use pgw_lab::canary::datagrams;
use pgw_lab::lab::eventually;
use pgw_lab::leaks::{self, Leaks};
use pgw_lab::machine::{Machine, package};
use pgw_lab::net::{C1, Device, ORIGIN};
use pgw_lab::rest::{Mapped, Rest};
use pgw_lab::upstream::Kind;
use tokio::task::JoinHandle;

/// What `pgw.target` starts and a device can do without.
pub(crate) const DAEMONS: [&str; 4] =
    ["pgw-api.service", "pgw-agent.service", "pgw-ui.service", "pgw-tunneld.service"];
/// The first forwarder's.
pub(crate) const FORWARDER: &str = "pgw-fwd@15001.service";

/// As an operator writes them: a lab has its own probe and resolver, and little patience.
const SETTINGS: &str = "\
PGW_HEALTH_URL=http://origin/probe
PGW_HEALTH_INTERVAL=1s
PGW_HEALTH_TIMEOUT=2s
PGW_DNS_RESOLVERS=tcp://203.0.113.10:53
PGW_RECONCILE_INTERVAL=1s
";

/// Runs what a test does on a machine, and keeps the machine's journal if it fails.
pub(crate) async fn on_a_machine(test: impl AsyncFnOnce(&mut Machine) -> Result<()>) -> Result<()> {
    let mut machine = Machine::new().await?;
    let done = test(&mut machine).await;
    if done.is_err() {
        let _it_may_be_off = machine.keep_journal().await;
    }
    done
}

/// Installed, set up, and the device open. Gives the operator's way in.
pub(crate) async fn installed(lab: &mut Lab, machine: &mut Machine, from: &Path) -> Result<(Rest, Mapped)> {
    machine.boot().await?;
    machine.install(from).await?;
    let rest = first_run(machine).await?;
    let mapping = open(lab, &rest, C1).await?;
    Ok((rest, mapping))
}

pub(crate) async fn installed_now(lab: &mut Lab, machine: &mut Machine) -> Result<(Rest, Mapped)> {
    installed(lab, machine, &package("pgw", false)?).await
}

/// From the installed package to a gateway that is ready.
pub(crate) async fn first_run(machine: &Machine) -> Result<Rest> {
    machine.lend(&[8080, 9090]).await?;
    machine
        .shell(&format!("cat >> /etc/pgw/pgw.env <<'EOF'\n{SETTINGS}EOF\nsystemctl restart pgw.target"))
        .await?;
    let token = token(machine).await?;
    let rest = Rest::new(token)?;
    rest.wait_ready().await?;
    Ok(rest)
}

pub(crate) async fn token(machine: &Machine) -> Result<String> {
    let path = machine.path("var/lib/pgw/admin.token");
    eventually("the first admin token is there", async || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        Ok(Some(text.trim().to_owned()).filter(|token| !token.is_empty()))
    })
    .await
}

pub(crate) async fn open(lab: &mut Lab, rest: &Rest, device: Device) -> Result<Mapped> {
    lab.upstream(Kind::Squid).await?;
    let client = rest.add_client(device).await?;
    let proxy = rest.add_proxy(Kind::Squid).await?;
    let mapping = rest.add_mapping(&client, &proxy, 1).await?;
    rest.wait_state(&mapping, "APPLIED").await?;
    is_open(lab, device).await?;
    Ok(mapping)
}

/// New connections leave by the upstream.
pub(crate) async fn is_open(lab: &Lab, device: Device) -> Result<()> {
    for url in ["http://origin/", "https://origin/"] {
        let seen = lab.seen_as(device, url).await?;
        ensure!(seen == Kind::Squid.ip().to_string(), "seen as {seen} at {url}");
    }
    Ok(())
}

/// A packet each millisecond or so from a device to somewhere it may not go.
pub(crate) struct Flood {
    device: Device,
    before: Leaks,
    sending: JoinHandle<Result<()>>,
    began: Instant,
}

impl Flood {
    pub(crate) async fn begin(device: Device) -> Result<Self> {
        let before = leaks::count(device.name).await?;
        let socket = datagrams(device.name, (ORIGIN, 9999).into()).await?;
        let sending = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(1));
            loop {
                ticks.tick().await;
                // With nobody at the other end of the cable the network says so, and is asked again.
                let _unreachable = socket.try_send(b"flood");
            }
        });
        Ok(Self { device, before, sending, began: Instant::now() })
    }

    /// How many of them came out until now.
    pub(crate) async fn so_far(&self) -> Result<u64> {
        Ok(leaks::count(self.device.name).await?.since(&self.before).total())
    }

    /// How many of them came out, and of how long that was.
    pub(crate) async fn end(self) -> Result<(u64, Duration)> {
        ensure!(!self.sending.is_finished(), "nobody sent");
        self.sending.abort();
        Ok((self.so_far().await?, self.began.elapsed()))
    }
}

/// The unit's process, as the lab numbers it.
pub(crate) async fn in_the_lab(machine: &Machine, unit: &str) -> Result<u32> {
    let pid = machine.run(&["systemctl", "show", "--property=MainPID", "--value", unit]).await?;
    let pid: u32 = pid.trim().parse()?;
    machine.outer_pid(pid).with_context(|| format!("the process of {unit}"))
}
