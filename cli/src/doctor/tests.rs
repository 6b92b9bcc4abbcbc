//! A machine that is well, and everything that may be wrong with one.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;

use super::machine::Interface;
use super::*;
use crate::tests::fake::{Fake, page};

const ROUTES: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n\
    eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\n\
    lan0\t0002A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n";
const TCP: &str =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

/// Which are strict, and are meant to be.
const OWN_CHAINS: &str = "table inet pgw_filter {\n\tchain forward {\n\t\ttype filter hook forward priority filter - 5; policy drop;\n\t}\n}\n";

struct World {
    root: tempfile::TempDir,
    environment: BTreeMap<&'static str, &'static str>,
    interfaces: BTreeMap<String, Interface>,
    nft: Result<&'static str, &'static str>,
    tables: &'static str,
    chains: &'static str,
    rules: &'static str,
    units: &'static str,
    tcp: String,
    udp: String,
}

impl World {
    fn well() -> Self {
        let address = |ip: &str, is_up| Interface { addresses: [ip.parse().unwrap()].into(), is_up };
        let world = Self {
            root: tempfile::tempdir().unwrap(),
            environment: [("PGW_LAN_IF", "lan0"), ("PGW_WAN_IF", "eth0")].into(),
            interfaces: [
                ("lan0".to_owned(), address("192.168.2.1", true)),
                ("eth0".to_owned(), address("192.0.2.2", true)),
            ]
            .into(),
            nft: Ok("nftables v1.0.6 (Lester Gooch #5)\n"),
            tables: "table ip pgw\ntable inet pgw_filter\n",
            chains: OWN_CHAINS,
            rules: "",
            units: "",
            tcp: TCP.to_owned(),
            udp: TCP.to_owned(),
        };
        world.write("proc/net/route", ROUTES);
        world.write("proc/sys/net/ipv4/ip_forward", "1\n");
        for name in ["all", "lan0", "eth0"] {
            world.write(&format!("proc/sys/net/ipv4/conf/{name}/rp_filter"), "0\n");
        }
        let mut world = world;
        for (port, program) in [(8080, "pgw-api"), (9090, "pgw-agent"), (8081, "pgw-ui")] {
            world.listens(port, program);
        }
        world
    }

    fn write(&self, name: &str, text: &str) {
        let file = self.root.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    /// By tcp; its process has the port's number.
    fn listens(&mut self, port: u16, program: &str) {
        self.tcp.push_str(&format!(
            "   0: 00000000:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 {port} 1\n"
        ));
        self.owns(port, program);
    }

    fn answers_udp(&mut self, port: u16, program: &str) {
        self.udp.push_str(&format!(
            "   0: 00000000:{port:04X} 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 {port} 1\n"
        ));
        self.owns(port, program);
    }

    fn owns(&self, port: u16, program: &str) {
        self.write(&format!("proc/{port}/comm"), &format!("{program}\n"));
        let folder = self.root.path().join(format!("proc/{port}/fd"));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("7");
        if !file.is_symlink() {
            symlink(format!("socket:[{port}]"), file).unwrap();
        }
    }

    fn found(&self) -> Vec<Finding> {
        self.write("proc/net/tcp", &self.tcp);
        self.write("proc/net/udp", &self.udp);
        let (nft, tables, chains) = (self.nft, self.tables, self.chains);
        let (rules, units) = (self.rules, self.units);
        let run = move |words: &[&str]| match words {
            ["nft", "--version"] => nft.map(str::to_owned).map_err(str::to_owned),
            ["nft", "list", "tables"] => Ok(tables.to_owned()),
            ["nft", "list", "chains"] => Ok(chains.to_owned()),
            ["nft", "list", "chain", "ip" | "inet", _table, _chain] => Ok(rules.to_owned()),
            ["timedatectl", ..] => Ok("yes\n".to_owned()),
            ["systemctl", "show", ..] => Ok(units.to_owned()),
            other => panic!("{other:?}"),
        };
        let machine = Machine {
            root: self.root.path().to_owned(),
            interfaces: self.interfaces.clone(),
            run: Box::new(run),
        };
        of_machine(&self.root.path().join("etc/pgw"), &self.environment, &machine)
    }

    /// What is wrong, a line for each.
    fn wrong(&self) -> Vec<String> {
        let wrong = self.found().into_iter().filter(|finding| finding.verdict != Verdict::Ok);
        wrong
            .map(|finding| format!("{} {}: {}", finding.verdict.word(), finding.area, finding.what))
            .collect()
    }
}

#[track_caller]
fn one(world: &World, begins: &str) {
    let wrong = world.wrong();
    assert!(wrong.len() == 1 && wrong[0].starts_with(begins), "{begins:?}, and found: {wrong:#?}");
}

#[test]
fn a_machine_that_is_well_is_left_alone_and_whatever_is_not_has_a_fix() {
    assert_eq!(World::well().wrong(), Vec::<String>::new());
    let mut world = World::well();
    world.interfaces.clear();
    world.nft = Err("nft is not installed");
    for finding in world.found() {
        assert_eq!(finding.fix.is_some(), finding.verdict != Verdict::Ok, "{finding:?}");
    }
}

#[test]
fn a_lan_that_is_not_there_is_told_with_those_that_are() {
    let mut world = World::well();
    world.environment.insert("PGW_LAN_IF", "ens19");
    one(&world, "bad interfaces: PGW_LAN_IF=ens19 does not exist (there is eth0, lan0)");
    world.environment.insert("PGW_LAN_IF", "eth0");
    world.environment.insert("PGW_WAN_IF", "lan0");
    one(&world, "bad interfaces: the default route leads through PGW_LAN_IF=eth0");
}

#[test]
fn an_interface_without_carrier_address_or_route_is_told() {
    let mut world = World::well();
    world.interfaces.get_mut("lan0").unwrap().is_up = false;
    one(&world, "bad interfaces: PGW_LAN_IF=lan0 is down");
    world.interfaces.insert("lan0".to_owned(), Interface { is_up: true, ..Interface::default() });
    one(&world, "bad interfaces: PGW_LAN_IF=lan0 has no IPv4 address");
    let world = World::well();
    world.write("proc/net/route", "Iface\n");
    one(&world, "warn interfaces: there is no default route");
}

#[test]
fn what_the_kernel_does_not_forward_or_throws_away_is_told() {
    let world = World::well();
    world.write("proc/sys/net/ipv4/ip_forward", "0\n");
    one(&world, "warn forwarding: IPv4 is not forwarded");
    let world = World::well();
    let second = "eth1\t00000000\t010200C0\t0003\t0\t0\t200\t00000000\n";
    world.write("proc/net/route", &format!("{ROUTES}{second}"));
    world.write("proc/sys/net/ipv4/conf/eth0/rp_filter", "1\n");
    one(&world, "warn rp_filter: eth0 is strict (1), and there are 2 default routes");
    world.write("proc/sys/net/ipv4/conf/all/rp_filter", "2\n");
    assert_eq!(world.wrong(), Vec::<String>::new(), "the looser of the two, when it is the larger, holds");
}

#[test]
fn an_old_nft_none_at_all_and_tables_that_are_gone_are_told() {
    let mut world = World::well();
    world.nft = Ok("nftables v0.9.8 (E.D.S.)");
    one(&world, "bad nftables: nft is nftables v0.9.8");
    world.nft = Err("nft is not installed");
    one(&world, "bad nftables: nft cannot be run: nft is not installed");
    let mut world = World::well();
    world.tables = "table ip pgw\ntable inet filter\n";
    one(&world, "bad nftables: not in the kernel: table inet pgw_filter");
}

#[test]
fn whoever_has_a_port_that_is_needed_is_named() {
    let mut world = World::well();
    world.tcp = TCP.to_owned();
    world.listens(8080, "java");
    world.listens(15_007, "caddy");
    let wrong = world.wrong();
    assert!(
        wrong.contains(&"bad ports: 8080 is taken by java, and pgw-api needs it".to_owned()),
        "{wrong:?}"
    );
    assert!(wrong.contains(&"warn ports: pgw-ui does not listen on 8081".to_owned()), "{wrong:?}");
    assert!(
        wrong.contains(&"bad ports: others listen in the forwarders' range: 15007 (caddy)".to_owned()),
        "{wrong:?}"
    );
}

#[test]
fn names_are_answered_by_somebody_where_the_gateway_is_to_answer_them() {
    let mut world = World::well();
    world.environment.insert("PGW_DNS", "gateway");
    one(&world, "bad ports: 53: PGW_DNS=gateway, and nobody answers names here");
    world.answers_udp(53, "dnsmasq");
    assert_eq!(world.wrong(), Vec::<String>::new());
}

#[test]
fn other_firewalls_are_told_with_what_they_would_have_to_let_through() {
    let world = World::well();
    world.write("etc/ufw/ufw.conf", "# ENABLED=no\nENABLED=yes\n");
    one(&world, "warn firewalls: ufw is on");
    let fix = world.found().into_iter().find_map(|finding| finding.fix).unwrap();
    assert!(fix.contains("ufw allow in on lan0 to any port 15001:15999"), "{fix}");
    let mut world = World::well();
    world.interfaces.insert("docker0".to_owned(), Interface::default());
    one(&world, "warn firewalls: Docker is here");
    let world = World::well();
    world.write("run/firewalld/x", "");
    one(&world, "warn firewalls: firewalld is running");
    let world = World::well();
    world.write("etc/nftables.conf", "#!/usr/sbin/nft -f\nflush ruleset\n");
    assert_eq!(world.wrong(), Vec::<String>::new(), "it is not enabled");
    world.write("etc/systemd/system/sysinit.target.wants/nftables.service", "");
    one(&world, "warn firewalls: nftables.service takes all tables away");
}

#[test]
fn a_chain_that_drops_what_devices_need_is_told_unless_it_lets_them() {
    let mut world = World::well();
    let policy = |hook: &str, chain: &str| {
        format!(
            "table inet own {{\n\tchain {chain} {{\n\t\ttype filter hook {hook} priority filter; policy drop;\n\t}}\n}}\n"
        )
    };
    world.chains = policy("input", "in").leak();
    world.rules = "\t\tiifname \"lan0\" tcp dport 22 accept\n\t\tiifname \"wan0\" accept\n";
    one(&world, "warn firewalls: inet own in drops what comes in, and no rule of it seems to let devices");
    let fix = world.found().into_iter().find_map(|finding| finding.fix).unwrap();
    assert!(
        fix.starts_with("nft insert rule inet own in iifname lan0 ") && fix.contains("15001-15999 accept"),
        "{fix}"
    );
    for rules in [
        "\t\tiifname \"lan0\" accept\n",
        "\t\tiifname { \"lan0\", \"lan1\" } meta l4proto { tcp, udp } th dport 15001-15999 accept\n",
    ] {
        world.rules = rules;
        assert_eq!(world.wrong(), Vec::<String>::new(), "{rules}");
    }
    world.chains = policy("forward", "FORWARD").leak();
    world.rules = "";
    one(&world, "warn firewalls: inet own FORWARD drops what is forwarded");
    world.write("etc/ufw/ufw.conf", "ENABLED=yes\n");
    one(&world, "warn firewalls: ufw is on");
}

#[test]
fn a_unit_that_gave_up_and_one_that_the_next_boot_would_not_start_are_told() {
    let mut world = World::well();
    world.write("usr/lib/systemd/system/pgw.target", "");
    world.units = "Id=pgw-boot.service\nActiveState=inactive\nSubState=dead\nUnitFileState=disabled\n\n\
                   Id=pgw.target\nActiveState=active\nSubState=active\nUnitFileState=enabled\n\n\
                   Id=pgw-api.service\nActiveState=activating\nSubState=auto-restart\nUnitFileState=static\n\n\
                   Id=pgw-ui.service\nActiveState=inactive\nSubState=dead\nUnitFileState=masked\n\n\
                   Id=pgw-fwd@15001.service\nActiveState=failed\nSubState=failed\nUnitFileState=static\n";
    assert_eq!(world.wrong(), Vec::<String>::new(), "nobody has booted systemd here");
    world.write("run/systemd/system/x", "");
    let want = [
        "bad units: pgw-boot.service is disabled: after a boot no registered device is held back until pgw-agent runs",
        "bad units: pgw-api.service ends again and again, and is started again",
        "bad units: pgw-fwd@15001.service has failed",
    ];
    assert_eq!(world.wrong(), want);
}

#[test]
fn each_programs_own_settings_are_its_own() {
    let mut world = World::well();
    world.write("etc/pgw/pgw-ui.env", "PGW_UI_LISTEN=0.0.0.0:8888\n");
    one(&world, "warn ports: pgw-ui does not listen on 8888");
    world.listens(8888, "pgw-ui");
    assert_eq!(world.wrong(), Vec::<String>::new());
    world.write("etc/pgw/pgw-api.env", "PGW_LAN_IF=lan7\n");
    assert_eq!(world.wrong(), Vec::<String>::new(), "what the API is told is nothing to the agent");
}

#[test]
fn a_setting_that_cannot_be_used_is_told_once_and_the_rest_is_looked_at_all_the_same() {
    let mut world = World::well();
    world.environment.insert("PGW_LOG", "loud");
    world.write("etc/pgw/pgw.env", "PGW_DNS=somebody\n");
    let wrong = world.wrong();
    let settings: Vec<&String> = wrong.iter().filter(|line| line.starts_with("bad settings")).collect();
    assert_eq!(settings.len(), 2, "{wrong:#?}");
    assert!(
        wrong.iter().any(|line| line.contains("PGW_LAN_IF=ens19 does not exist")),
        "by default: {wrong:#?}"
    );
}

#[test]
fn a_clock_that_is_years_off_is_told() {
    let machine =
        Machine { root: "/".into(), interfaces: BTreeMap::new(), run: Box::new(|_| Ok("no\n".to_owned())) };
    let told = clock::judged(&machine, "1970-01-02T00:00:00Z".parse().unwrap());
    assert_eq!(told[0].verdict, Verdict::Bad);
    let machine = Machine { root: "/nowhere".into(), ..machine };
    let told = clock::judged(&machine, "2030-01-02T00:00:00Z".parse().unwrap());
    assert_eq!(told[0].verdict, Verdict::Warn);
}

/// What the programs and upstreams say of themselves, a line for each that is wrong.
async fn services(fake: Fake) -> Vec<String> {
    let gateway = fake.start().await;
    let url = Some(gateway.url.clone());
    let global = Global { url: url.clone(), agent_url: url, ..Global::default() };
    let environment = BTreeMap::from([("PGW_TOKEN", "t0ken")]);
    let installed = Installed::read(Path::new("/nowhere"), "pgw-api", &environment);
    let found = services::look(&global, &installed).await;
    let wrong = found.into_iter().filter(|finding| finding.verdict != Verdict::Ok);
    wrong.map(|finding| format!("{} {}", finding.verdict.word(), finding.what)).collect()
}

#[tokio::test]
async fn what_the_gateway_says_of_itself_and_of_its_upstreams_is_told() {
    let ready =
        |well: bool| json!({"ready": well, "checks": [{"name": "agent", "ok": well, "detail": "no answer"}]});
    let proxy = |name: &str, status: &str| json!({"name": name, "enabled": true, "health": {"status": status, "error": "refused"}});
    let well = Fake::default()
        .on("GET /readyz", 200, ready(true))
        .on("GET /agent/status", 200, json!({"warnings": [], "drift": {"fighting": false}}))
        .on("GET /v1/proxies", 200, page(json!([proxy("de1", "OK")])));
    assert_eq!(services(well).await, Vec::<String>::new());
    let ill = Fake::default()
        .on("GET /readyz", 503, ready(false))
        .on(
            "GET /agent/status",
            200,
            json!({"warnings": ["it is not saved"], "drift": {"fighting": true, "last_by": "x"}}),
        )
        .on("GET /v1/proxies", 200, page(json!([proxy("de1", "DOWN")])));
    let want = [
        "bad agent: no answer",
        "warn the agent warns: it is not saved",
        "bad x changes pgw's tables again and again",
        "bad proxy de1 is down: refused",
    ];
    assert_eq!(services(ill).await, want);
    let foreign = services(Fake::default().on("GET /readyz", 200, json!("hello"))).await;
    assert!(foreign.len() == 1 && foreign[0].ends_with("answers, and is not pgw-api"), "{foreign:?}");
    let refused = json!({"status": 401, "title": "t", "code": "unauthorized", "detail": "no token"});
    let stranger = Fake::default().on("GET /readyz", 200, ready(true)).on("GET /v1/proxies", 401, refused);
    let told = services(stranger).await;
    assert!(told.len() == 1 && told[0].starts_with("unknown no token"), "{told:?}");
}
