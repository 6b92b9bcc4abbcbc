//! The leak drill: it says closed when it has seen it, leaked when it has seen that, and else
//! that it knows nothing. Nobody but the gateway ever meets a packet of it (G17).

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pgw_lab::command::Finished;
use pgw_lab::gateway::{self, Program};
use pgw_lab::lab::{Ready, eventually};
use pgw_lab::net::{C1, C2, GATEWAY};
use pgw_lab::rest::{AGENT, Rest};
use pgw_lab::upstream::Kind;
use pgw_lab::{Lab, command, netns};
use reqwest::Method;
use serde_json::Value;

use crate::drift::{drift, status};
use crate::harness::MEASURED;

crate::tests![
    a_gateway_that_keeps_its_promise_is_proven_closed_and_nobody_notices,
    a_drill_closes_its_eyes_to_no_setting_of_the_gateway,
    whichever_rule_is_missing_the_drill_names_what_leaks,
    what_a_drill_cannot_see_it_does_not_call_closed,
    a_drill_that_is_killed_leaves_nothing_that_stays,
];

const KINDS: [&str; 11] = [
    "ipv6 tcp",
    "ipv6 udp",
    "ipv6 icmp",
    "tcp 80",
    "tcp 443",
    "tcp 53 (dns)",
    "tcp other",
    "udp 53 (dns)",
    "udp 443 (quic)",
    "udp other",
    "icmp",
];
/// As the lab sets it, by default.
const LAN: &str = "ens19";

/// What anybody on the switches sees of the drill's addresses.
async fn eyes() -> Result<()> {
    for switch in ["lan", "wan"] {
        let text = "table bridge eyes {\n counter seen { }\n chain passing {\n  type filter hook prerouting priority -290;\n  \
             ip saddr 192.0.2.240/28 counter name seen\n  ip daddr 192.0.2.240/28 counter name seen\n  \
             arp daddr ip 192.0.2.240/28 counter name seen\n  ip6 saddr 2001:db8:7067:7764::/64 counter name seen\n  \
             ip6 daddr 2001:db8:7067:7764::/64 counter name seen\n }\n}\n";
        command::ok_with(switch, &["nft", "-f", "-"], text).await?;
    }
    Ok(())
}

async fn nobody_saw_it() -> Result<()> {
    for switch in ["lan", "wan"] {
        let seen = command::ok(switch, &["nft", "list", "counter", "bridge", "eyes", "seen"]).await?;
        ensure!(seen.contains("packets 0 "), "on {switch} packets of the drill were seen:\n{seen}");
    }
    Ok(())
}

async fn nothing_is_left() -> Result<()> {
    let links = command::ok(GATEWAY, &["ip", "-o", "link"]).await?;
    ensure!(!links.contains("pgw-drill"), "{links}");
    for family in ["-4", "-6"] {
        let routes = command::ok(GATEWAY, &["ip", family, "route", "show", "table", "all"]).await?;
        ensure!(!routes.contains("192.0.2.24") && !routes.contains("7067:7764"), "{routes}");
    }
    Ok(())
}

async fn asked(rest: &Rest) -> Result<Value> {
    let answer = rest.send(Method::POST, &format!("{AGENT}/agent/drill"), None).await?;
    ensure!(answer.status == 200, "{answer:?}");
    ensure!(status(rest).await?.get("drill") == Some(&answer.body), "the status tells of another drill");
    Ok(answer.body)
}

fn number(kind: &Value, name: &str) -> u64 {
    kind.get(name).and_then(Value::as_u64).unwrap_or(u64::MAX)
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

fn is_closed(drill: &Value) -> Result<()> {
    ensure!(text(drill, "outcome") == Some("closed"), "{drill}");
    ensure!(text(drill, "proven_closed_at").is_some(), "{drill}");
    ensure!(text(drill, "proven_closed_at") == text(drill, "last_at"), "{drill}");
    ensure!(number(drill, "took_ms") < 3_000, "{drill}");
    let kinds = drill.get("kinds").and_then(Value::as_array).context("no kinds")?;
    let names: Vec<&str> = kinds.iter().filter_map(|kind| text(kind, "kind")).collect();
    ensure!(names == KINDS, "{names:?}");
    for kind in kinds {
        let counts = ["sent", "met", "leaked", "control"].map(|name| number(kind, name));
        ensure!(counts == [3, 3, 0, 3], "{kind}");
    }
    Ok(())
}

/// As an operator types it.
async fn typed(settings: &[&str], word: &str) -> Result<Finished> {
    let agent = gateway::path("pgw-agent")?;
    let agent = agent.to_string_lossy();
    let state = format!("PGW_STATE_DIR={}", gateway::STATE);
    command::finish(GATEWAY, &[&["env", &state], settings, &[&agent, word]].concat(), "").await
}

/// Its exit status, and that its words say so.
async fn ends(settings: &[&str], code: i32, words: &[&str]) -> Result<String> {
    let done = typed(settings, "drill").await?;
    ensure!(done.status.code() == Some(code), "{done:?}");
    for word in words {
        ensure!(done.stdout.contains(word), "{word:?} is not said: {done:?}");
    }
    ensure!((code == 0) == done.stdout.starts_with("proven closed at 20"), "{done:?}");
    nothing_is_left().await?;
    nobody_saw_it().await?;
    Ok(done.stdout)
}

async fn a_gateway_that_keeps_its_promise_is_proven_closed_and_nobody_notices(mut lab: Lab) -> Result<()> {
    eyes().await?;
    let ready = lab.gateway().await?;
    lab.mapped(&ready, C1, &[Kind::Squid]).await?;
    ready.rest.add_client(C2).await?;
    let before = drift(&ready.rest).await?.count;
    let first = asked(&ready.rest).await?;
    is_closed(&first)?;
    eprintln!("{MEASURED} a leak drill took {} ms", number(&first, "took_ms"));
    nothing_is_left().await?;
    // The running agent does it, and remembers.
    ends(&[], 0, &KINDS).await?;
    let last = status(&ready.rest).await?;
    let second = last.get("drill").context("the status tells of no drill")?;
    is_closed(second)?;
    ensure!(text(second, "last_at") != text(&first, "last_at"), "{last}");
    ensure!(number(&last, "clients") == 2, "the drill's own address is nobody's client: {last}");
    ensure!(drift(&ready.rest).await?.count == before, "a drill is taken for somebody else's change");
    let seen = lab.seen_as(C1, "http://origin/").await?;
    ensure!(seen == Kind::Squid.ip().to_string(), "{seen}");
    nobody_saw_it().await
}

async fn a_drill_closes_its_eyes_to_no_setting_of_the_gateway(lab: Lab) -> Result<()> {
    eyes().await?;
    for setting in [("PGW_CLOSED_ACTION", "reject"), ("PGW_UNREGISTERED", "drop"), ("PGW_DNS", "gateway")] {
        let mut ready = lab.gateway_with(&[setting]).await?;
        is_closed(&asked(&ready.rest).await?).with_context(|| format!("{setting:?}"))?;
        for program in Program::ALL {
            ready.gateway.kill(program).await?;
        }
    }
    // Strict about where packets come from, in both ways that there are; then without IPv6.
    netns::sysctl(GATEWAY, "net/ipv4/conf/all/rp_filter", "1")?;
    let strict = "table inet strict {\n chain in {\n  type filter hook prerouting priority raw;\n  \
                  iifname ens19 fib saddr . iif oif missing drop\n }\n}\n";
    command::ok_with(GATEWAY, &["nft", "-f", "-"], strict).await?;
    ends(&[], 0, &KINDS).await?;
    netns::sysctl(GATEWAY, "net/ipv6/conf/all/forwarding", "0")?;
    let told = ends(&[], 0, &["not tried: this gateway does not forward IPv6"]).await?;
    ensure!(told.matches("not tried").count() == 3, "{told}");
    netns::sysctl(GATEWAY, "net/ipv6/conf/all/forwarding", "1")?;
    // A bridge is a LAN as good as any other.
    let bridge = "link add br-lan type bridge\nlink set ens19 master br-lan\nlink set br-lan up\n";
    command::ok_with(GATEWAY, &["ip", "-batch", "-"], bridge).await?;
    let settings = ["PGW_LAN_IF=br-lan"];
    let booted = typed(&settings, "boot").await?;
    ensure!(booted.status.success(), "{booted:?}");
    ends(&settings, 0, &KINDS).await?;
    netns::sysctl(GATEWAY, "net/ipv6/conf/eth0/disable_ipv6", "1")?;
    ends(&settings, 0, &["not tried: IPv6 is turned off on an interface"]).await.map(drop)
}

/// By the word in it, from the rules that close.
async fn take_away_the_rule(word: &str) -> Result<()> {
    let chain = ["nft", "-a", "list", "chain", "inet", "pgw_filter", "forward"];
    let rules = command::ok(GATEWAY, &chain).await?;
    let rule = rules.lines().find(|line| line.contains(word)).context("there is no such rule")?;
    let handle = rule.rsplit("# handle ").next().context("a rule without a handle")?;
    let delete = ["nft", "delete", "rule", "inet", "pgw_filter", "forward", "handle", handle.trim()];
    command::ok(GATEWAY, &delete).await.map(drop)
}

async fn whichever_rule_is_missing_the_drill_names_what_leaks(lab: Lab) -> Result<()> {
    eyes().await?;
    let Ready { mut gateway, rest } = lab.gateway().await?;
    rest.add_client(C1).await?;
    // Or it would be healed before anybody looks.
    gateway.kill(Program::Agent).await?;
    ends(&[], 0, &KINDS).await?;
    take_away_the_rule("lan_ipv6").await?;
    leaks(&["ipv6"]).await?;
    take_away_the_rule("leaves by its forwarder or not at all").await?;
    // Another one holds what would leave by the WAN.
    leaks(&["ipv6"]).await?;
    take_away_the_rule("nor does it leave").await?;
    leaks(&["ipv6", "tcp 80", "tcp 443", "tcp 53", "tcp other", "icmp"]).await?;
    take_away_the_rule("closed_udp").await?;
    leaks(&KINDS).await?;
    boot().await?;
    let element = ["nft", "delete", "element", "inet", "pgw_filter", "clients", "{ 192.0.2.240 }"];
    command::ok(GATEWAY, &element).await?;
    leaks(&["tcp", "udp", "icmp"]).await
}

/// All of these, and no other.
async fn leaks(kinds: &[&str]) -> Result<()> {
    let told = ends(&[], 1, &["LEAKED at 20"]).await?;
    for kind in KINDS {
        let line =
            told.lines().find(|line| line.trim_start().starts_with(kind)).context("a kind is missing")?;
        let leaked = !line.contains(" 0 came out;");
        let expected = kinds.iter().any(|expected| kind.starts_with(expected));
        ensure!(leaked == expected, "{kind}:\n{told}");
    }
    Ok(())
}

async fn boot() -> Result<()> {
    let booted = typed(&[], "boot").await?;
    ensure!(booted.status.success(), "{booted:?}");
    Ok(())
}

async fn what_a_drill_cannot_see_it_does_not_call_closed(lab: Lab) -> Result<()> {
    eyes().await?;
    let Ready { mut gateway, rest } = lab.gateway().await?;
    rest.add_client(C1).await?;
    gateway.kill(Program::Agent).await?;
    // Another firewall, before our rules and behind them.
    for priority in ["-10", "10"] {
        let other = format!(
            "table inet other {{\n chain out {{\n  type filter hook forward priority {priority};\n  udp dport 443 drop\n }}\n}}\n"
        );
        command::ok_with(GATEWAY, &["nft", "-f", "-"], &other).await?;
        ends(&[], 2, &["nothing is proven", "another firewall", "udp 443"]).await?;
        command::ok(GATEWAY, &["nft", "delete", "table", "inet", "other"]).await?;
    }
    netns::sysctl(GATEWAY, "net/ipv4/ip_forward", "0")?;
    ends(&[], 2, &["nothing is proven", "tcp 80"]).await?;
    netns::sysctl(GATEWAY, "net/ipv4/ip_forward", "1")?;
    ends(&["PGW_WAN_IF=eth7"], 2, &["could not be run: PGW_WAN_IF=eth7 does not exist"]).await?;
    command::ok(GATEWAY, &["ip", "link", "set", LAN, "down"]).await?;
    ends(&[], 2, &["could not be run: PGW_LAN_IF=ens19 is down"]).await?;
    command::ok(GATEWAY, &["ip", "link", "set", LAN, "up"]).await?;
    for table in [["ip", "pgw"], ["inet", "pgw_filter"]] {
        command::ok(GATEWAY, &[&["nft", "delete", "table"][..], &table].concat()).await?;
    }
    ends(&[], 2, &["could not be run", "pgw's rules are not in the kernel"]).await?;
    boot().await?;
    ends(&[], 0, &KINDS).await?;
    is_locked().await?;
    // The drill's eyes are closed; what nobody closes does come out then, and is no proof.
    command::ok(GATEWAY, &["nft", "flush", "chain", "inet", "pgw_filter", "postrouting"]).await?;
    let blind = typed(&[], "drill").await?;
    ensure!(blind.status.code() == Some(2) && blind.stdout.contains("nothing is proven"), "{blind:?}");
    nothing_is_left().await
}

async fn is_locked() -> Result<()> {
    let turn = std::fs::File::open(gateway::STATE)?;
    rustix::fs::flock(&turn, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
    ends(&[], 2, &["another drill is under way"]).await.map(drop)
}

async fn cable() -> Result<bool> {
    Ok(command::finish(GATEWAY, &["ip", "link", "show", "pgw-drill0"], "").await?.status.success())
}

async fn a_drill_that_is_killed_leaves_nothing_that_stays(lab: Lab) -> Result<()> {
    eyes().await?;
    let mut ready = lab.gateway().await?;
    // The agent's own is killed with it, and swept away by the next one.
    let rest = Rest::new(pgw_lab::lab::admin_token().await?)?;
    let under_way = tokio::spawn(async move {
        rest.send(Method::POST, &format!("{AGENT}/agent/drill"), None).await.map(|answer| answer.status)
    });
    eventually("the drill is under way", async || Ok(cable().await?.then_some(()))).await?;
    ready.gateway.kill(Program::Agent).await?;
    ensure!(!matches!(under_way.await, Ok(Ok(200))), "it was over before it was killed");
    ensure!(cable().await?, "there is nothing to sweep");
    ready.gateway.start(Program::Agent).await?;
    eventually("what was left is swept", async || Ok(nothing_is_left().await.ok())).await?;
    ready.gateway.kill(Program::Agent).await?;

    // Killed again and again, at whatever step it is; the last one finds nothing in its way.
    let agent = gateway::path("pgw-agent")?;
    let state = format!("PGW_STATE_DIR={}", gateway::STATE);
    for later in [0, 10, 30, 60, 100, 150] {
        let words = ["env", &state, &agent.to_string_lossy(), "drill"];
        let mut drill = command::program(GATEWAY, &words).kill_on_drop(true).spawn()?;
        eventually("the drill is under way", async || {
            Ok((cable().await? || drill.try_wait()?.is_some()).then_some(()))
        })
        .await?;
        // Not to wait for anything: to be at another step each time.
        tokio::time::sleep(Duration::from_millis(later)).await;
        drill.kill().await?;
    }
    ends(&[], 0, &KINDS).await?;
    nobody_saw_it().await
}
