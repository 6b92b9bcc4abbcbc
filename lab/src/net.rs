//! Who is where. Addresses are those of documentation networks; a device leaves the gateway by
//! a WAN address of its own, so that what leaks can be put down to somebody.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result};

use crate::{command, netns};

/// A device of the LAN.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Device {
    pub name: &'static str,
    pub ip: Ipv4Addr,
    pub ip6: Ipv6Addr,
    /// The address that the gateway's source NAT gives to it when it goes out directly.
    pub direct: Ipv4Addr,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

pub const C1: Device = device("c1", 11, 101);
pub const C2: Device = device("c2", 12, 102);
pub const STRANGER: Device = device("stranger", 99, 109);
pub const DEVICES: [Device; 3] = [C1, C2, STRANGER];

/// An address of the LAN that no device has.
pub const UNUSED: Ipv4Addr = on_lan(77);
/// An address that is not of the LAN, and is routed to nobody.
pub const NOBODY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);

pub const GATEWAY: &str = "gw";
pub const GATEWAY_LAN: Ipv4Addr = on_lan(1);
pub const GATEWAY_LAN6: Ipv6Addr = Ipv6Addr::new(0xfd64, 0, 0, 0, 0, 0, 0, 1);
pub const GATEWAY_WAN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
pub const GATEWAY_WAN6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 1);

pub const ORIGIN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
pub const ORIGIN6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 0x10);
/// "The rest of the internet", which is origin as well.
pub const ELSEWHERE: &str = "198.51.100.0/24";
/// There, a server that speaks first, on ports 80 and 443.
pub const GREETER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 25);
/// There, a server that answers only after it has read to the end, on ports 80 and 443.
pub const LISTENER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 26);

/// Namespaces of the WAN, and the last part of their address.
pub const WAN_HOSTS: [(&str, u8); 5] =
    [("origin", 10), ("squid", 21), ("microsocks", 22), ("tls", 23), ("dante", 24)];

const fn device(name: &'static str, host: u8, direct: u8) -> Device {
    Device {
        name,
        ip: on_lan(host),
        ip6: Ipv6Addr::new(0xfd64, 0, 0, 0, 0, 0, 0, host as u16),
        direct: Ipv4Addr::new(203, 0, 113, direct),
    }
}

pub const fn on_lan(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 64, 0, host)
}

pub const fn wan(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, host)
}

/// Builds it all; the process that calls this is, and stays, in the gateway's namespace.
pub async fn build() -> Result<()> {
    private_files(&hosts()).await?;
    attach(GATEWAY).await?;
    let devices = DEVICES.iter().map(|device| device.name);
    let others: Vec<&str> =
        ["lan", "wan"].into_iter().chain(devices).chain(WAN_HOSTS.map(|(name, _)| name)).collect();
    let names: String = others.iter().map(|name| format!("netns add {name}\n")).collect();
    batch(GATEWAY, &names).await?;
    for ns in others.iter().copied().chain([GATEWAY]) {
        // Duplicate address detection costs a second, and nobody else is here.
        netns::sysctl(ns, "net/ipv6/conf/default/accept_dad", "0")?;
        // Every program of the lab is root of its namespace; let it send an echo request.
        netns::sysctl(ns, "net/ipv4/ping_group_range", "0 0")?;
    }
    batch(GATEWAY, &cables()).await?;
    for (bridge, ports) in
        [("lan", DEVICES.map(|d| d.name).to_vec()), ("wan", WAN_HOSTS.map(|(n, _)| n).to_vec())]
    {
        batch(bridge, &switch(&ports)).await?;
    }
    for device in DEVICES {
        batch(device.name, &host(device.ip, device.ip6, GATEWAY_LAN, GATEWAY_LAN6)).await?;
    }
    for (name, last) in WAN_HOSTS {
        let v6 = Ipv6Addr::new(
            0x2001,
            0xdb8,
            0x113,
            0,
            0,
            0,
            0,
            if name == "origin" { 0x10 } else { last.into() },
        );
        let mut lines = host(wan(last), v6, GATEWAY_WAN, GATEWAY_WAN6);
        if name == "origin" {
            writeln!(lines, "route add local {ELSEWHERE} dev lo")?;
        } else {
            writeln!(lines, "route replace default via {ORIGIN}")?;
        }
        batch(name, &lines).await?;
    }
    gateway().await
}

/// Names the network in which this process is.
pub(crate) async fn attach(name: &str) -> Result<()> {
    let own = std::process::id().to_string();
    command_in_own_network(&["ip", "netns", "attach", name, &own]).await
}

/// Files that belong to the machine are covered with the lab's own, in this mount namespace
/// only. An empty `/run` also hides the machine's D-Bus.
pub(crate) async fn private_files(hosts: &str) -> Result<()> {
    for (target, mode) in [("/run", "0755"), ("/dev/shm", "1777")] {
        let options = format!("mode={mode}");
        command_in_own_network(&["mount", "-t", "tmpfs", "-o", &options, "lab", target]).await?;
    }
    std::fs::create_dir_all("/run/netns")?;
    std::fs::create_dir_all("/run/lab/etc")?;
    cover("/etc/hosts", hosts).await?;
    cover("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n").await
}

pub(crate) fn hosts() -> String {
    let local = format!("127.0.0.1 localhost\n::1 localhost\n{ORIGIN} origin\n{ORIGIN6} origin6\n");
    let others = WAN_HOSTS.iter().filter(|(name, _)| *name != "origin");
    others.fold(local, |lines, (name, last)| lines + &format!("{} {name}\n", wan(*last)))
}

/// Puts a file of the lab over one of the machine's.
pub async fn cover(target: &str, text: &str) -> Result<()> {
    let own = format!("/run/lab/etc/{}", target.rsplit('/').next().unwrap_or("file"));
    std::fs::write(&own, text).with_context(|| own.clone())?;
    command_in_own_network(&["mount", "--bind", &own, target]).await
}

async fn command_in_own_network(words: &[&str]) -> Result<()> {
    let [name, rest @ ..] = words else { return Ok(()) };
    let output = command::bare(name).args(rest).output().await.with_context(|| words.join(" "))?;
    anyhow::ensure!(
        output.status.success(),
        "{} → {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

pub(crate) async fn batch(ns: &str, lines: &str) -> Result<()> {
    command::ok_with(ns, &["ip", "-batch", "-"], lines).await.with_context(|| lines.to_owned())?;
    Ok(())
}

fn cables() -> String {
    let mut lines = String::from(
        "link add name ens19 type veth peer name gw netns lan\nlink add name eth0 type veth peer name gw netns wan\n",
    );
    let plugs =
        DEVICES.iter().map(|d| (d.name, "lan")).chain(WAN_HOSTS.iter().map(|(name, _)| (*name, "wan")));
    for (name, switch) in plugs {
        lines.push_str(&format!(
            "link add name eth0 netns {name} type veth peer name {name} netns {switch}\n"
        ));
    }
    lines
}

fn switch(ports: &[&str]) -> String {
    // Snooping without a querier would hold back neighbour discovery.
    let mut lines = String::from("link add br0 type bridge mcast_snooping 0\nlink set br0 up\n");
    for port in ports.iter().chain(&["gw"]) {
        lines.push_str(&format!("link set {port} master br0 up\n"));
    }
    lines
}

fn host(v4: Ipv4Addr, v6: Ipv6Addr, via4: Ipv4Addr, via6: Ipv6Addr) -> String {
    addresses("eth0", v4, v6) + &format!("route add default via {via4}\nroute add default via {via6}\n")
}

fn addresses(link: &str, v4: impl Into<IpAddr>, v6: impl Into<IpAddr>) -> String {
    let (v4, v6) = (v4.into(), v6.into());
    format!(
        "link set lo up\nlink set {link} up\naddr add {v4}/24 dev {link}\naddr add {v6}/64 dev {link} nodad\n"
    )
}

/// Routing and source NAT, as a gateway without pgw would have them: without pgw's rules
/// everything gets out.
async fn gateway() -> Result<()> {
    let lines = addresses("ens19", GATEWAY_LAN, GATEWAY_LAN6) + &addresses("eth0", GATEWAY_WAN, GATEWAY_WAN6);
    batch(GATEWAY, &(lines + &format!("route add default via {ORIGIN}\nroute add default via {ORIGIN6}\n")))
        .await?;
    netns::sysctl(GATEWAY, "net/ipv4/ip_forward", "1")?;
    netns::sysctl(GATEWAY, "net/ipv6/conf/all/forwarding", "1")?;
    for Device { direct, .. } in DEVICES {
        // The address must answer on the WAN, or nothing comes back and a leak looks closed.
        batch(GATEWAY, &format!("addr add {direct}/32 dev eth0\n")).await?;
    }
    command::ok_with(GATEWAY, &["nft", "-f", "-"], &nat()).await?;
    Ok(())
}

/// The operator's own rules: whoever goes out directly gets a WAN address of his own.
pub(crate) fn nat() -> String {
    let rules = DEVICES
        .iter()
        .map(|Device { ip, direct, .. }| format!("  oifname \"eth0\" ip saddr {ip} snat to {direct}\n"));
    let rules: String = rules.collect();
    format!("table ip lab {{\n chain out {{\n  type nat hook postrouting priority srcnat;\n{rules} }}\n}}\n")
}

/// The two cables of whoever is the gateway now, plugged in at both ends.
pub(crate) async fn gateway_cables(ns: &str) -> Result<()> {
    for (link, switch) in [("ens19", "lan"), ("eth0", "wan")] {
        let line = format!("link add name {link} netns {ns} type veth peer name gw netns {switch}\n");
        batch(GATEWAY, &line).await?;
    }
    for switch in ["lan", "wan"] {
        batch(switch, "link set gw master br0 up\n").await?;
    }
    Ok(())
}
