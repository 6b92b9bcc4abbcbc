//! What several tests need.

use std::process::Stdio;
use std::sync::{Arc, Mutex};

use pgw_core::active::{ACTIVE_VERSION, ActiveMapping, ActiveSet, ClosedClient};
use pgw_core::dns::DnsChoice;
use pgw_core::ids::{ClientId, ClientIp, Generation, MappingId, ProxyId};
use pgw_core::ports::PortRange;
use pgw_core::settings::{ClosedAction, Unregistered};

use crate::conntrack::fake::FakeConntrack;
use crate::interfaces::{Interfaces, Present};
use crate::nft::kernel::Kernel;
use crate::nft::plan::Policy;
use crate::reconcile::Machine;

/// Whoever is asked about what is there says this.
impl Interfaces for Mutex<Present> {
    fn list(&self) -> std::io::Result<Present> {
        Ok(self.lock().unwrap().clone())
    }
}

/// The gateway is 10.0.0.1, on ens19.
pub(crate) fn interfaces() -> Arc<Mutex<Present>> {
    let (names, addresses) = (["ens19".to_owned()].into(), [[10, 0, 0, 1].into()].into());
    Arc::new(Mutex::new(Present { names, addresses }))
}

pub(crate) fn machine(kernel: Arc<dyn Kernel>) -> Machine {
    Machine { kernel, conntrack: Arc::new(FakeConntrack::default()), interfaces: interfaces() }
}

pub(crate) fn policy() -> Policy {
    Policy {
        lan_if: "ens19".to_owned(),
        wan_if: "eth0".to_owned(),
        ports: PortRange::spanning(15001, 15999),
        unregistered: Unregistered::Allow,
        closed_action: ClosedAction::Drop,
        dns: DnsChoice::Upstream,
    }
}

/// Clients of 10.0.0.0/24 by their last number.
pub(crate) fn active(generation: u64, mapped: &[(u8, u16)], closed: &[u8]) -> ActiveSet {
    let ip_cidr = |last: u8| ClientIp::new([10, 0, 0, last].into()).unwrap();
    let uuid = |last: u8| format!("01935000-0000-7000-8000-{last:012}");
    let client = |last: u8| ClientId(uuid(last).parse().unwrap());
    let item = |(last, port): &(u8, u16)| ActiveMapping {
        id: MappingId(client(*last).0),
        client_id: client(*last),
        proxy_id: ProxyId(client(*last).0),
        ip_cidr: ip_cidr(*last),
        port: *port,
        priority: 100,
        mac: None,
    };
    ActiveSet {
        version: ACTIVE_VERSION,
        generation: Generation(generation),
        database: None,
        count: mapped.len() + closed.len(),
        items: mapped.iter().map(item).collect(),
        closed: closed
            .iter()
            .map(|last| ClosedClient { client_id: client(*last), ip_cidr: ip_cidr(*last), mac: None })
            .collect(),
        tunnels: None,
    }
}

const INSIDE: &str = "PGW_TEST_INSIDE_NAMESPACE";

/// Whether this is the test that was started again, in a network namespace of its own.
pub(crate) fn inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// As root a network namespace is enough; everybody else gets it with a user namespace.
#[expect(clippy::disallowed_methods, reason = "the test starts itself in a namespace of its own")]
pub(crate) async fn again_inside(test: &str) {
    let options = if rustix::process::geteuid().is_root() { "-n" } else { "-rn" };
    let path = std::env::var("PATH").unwrap_or_default();
    let output = tokio::process::Command::new("unshare")
        .args([options, "sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        // Where nft and ip live is not in everybody's PATH.
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("unshare (package util-linux) is needed for this test");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // Zero tests run is a success to the test harness, not to us.
    assert!(output.status.success() && said.contains("1 passed"), "unshare {options}: {said}");
}
