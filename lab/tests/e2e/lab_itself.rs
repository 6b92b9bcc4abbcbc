//! The lab without pgw: what is open there is really open, so that a closed door later is
//! pgw's doing.

use anyhow::{Result, ensure};
use pgw_lab::canary::{self, LONG, answered, ways_out, ways_to_upstreams};
use pgw_lab::net::{DEVICES, GREETER, LISTENER};
use pgw_lab::origin::Tally;
use pgw_lab::upstream::{Kind, USER};
use pgw_lab::{Lab, command, pki};
use tokio::io::AsyncWriteExt as _;

crate::tests![
    without_pgw_every_device_gets_out_by_every_way,
    every_upstream_works_with_its_password_and_with_no_other,
    the_origin_says_who_asks_and_returns_what_it_was_sent,
];

async fn without_pgw_every_device_gets_out_by_every_way(lab: Lab) -> Result<()> {
    for device in DEVICES {
        let ways = ways_out();
        let open = answered(device.name, &ways, LONG).await?;
        let all: Vec<String> = ways.iter().map(|way| way.name.clone()).collect();
        ensure!(open == all, "{} got answers from {open:?}", device.name);
        let counted = lab.leaks(device.name).await?;
        for kind in ["tcp", "udp", "icmp", "v6"] {
            ensure!(
                counted.0.get(kind).is_some_and(|count| *count > 0),
                "{kind} is not counted: {counted:?}"
            );
        }
        for url in ["http://origin/", "https://origin/"] {
            let seen = lab.seen_as(device, url).await?;
            ensure!(seen == device.direct.to_string(), "{} is seen as {seen}", device.name);
        }
    }
    Ok(())
}

async fn every_upstream_works_with_its_password_and_with_no_other(mut lab: Lab) -> Result<()> {
    for kind in Kind::ALL {
        lab.upstream(kind).await?;
        let scheme = if kind.scheme() == "socks5" { "socks5h" } else { kind.scheme() };
        let proxy = format!("{scheme}://{}:{}", kind.name(), kind.port());
        for url in ["http://origin/", "https://origin/"] {
            let usual =
                ["curl", "-sS", "--max-time", "5", "--cacert", pki::CA_FILE, "--proxy-cacert", pki::CA_FILE];
            let ask = async |password: &str| {
                let user = format!("{USER}:{password}");
                let words = [&usual[..], &["-p", "-x", &proxy, "-U", &user, url]].concat();
                command::finish("gw", &words, "").await
            };
            let right = ask(kind.password()).await?;
            ensure!(right.stdout.trim() == kind.ip().to_string(), "{kind:?} {url}: {right:?}");
            let wrong = ask("something-else").await?;
            ensure!(!wrong.status.success(), "{kind:?} {url} with a wrong password: {wrong:?}");
        }
    }
    let reachable = answered("stranger", &ways_to_upstreams(), LONG).await?;
    ensure!(reachable.len() == Kind::ALL.len(), "{reachable:?}");
    let direct = lab.leaks("gw").await?;
    ensure!(direct.total() == 0, "the gateway spoke to the origin by itself: {direct:?}");
    for kind in Kind::ALL {
        lab.kill_upstream(kind).await?;
    }
    let reachable = answered("stranger", &ways_to_upstreams(), canary::PATIENCE).await?;
    ensure!(reachable.is_empty(), "killed, and still there: {reachable:?}");
    Ok(())
}

async fn the_origin_says_who_asks_and_returns_what_it_was_sent(lab: Lab) -> Result<()> {
    for port in [80, 443] {
        let mut greeter = canary::connect("stranger", (GREETER, port).into(), LONG).await?;
        let hello = canary::read(&mut greeter, 5).await?;
        ensure!(hello.starts_with("hello 203.0.113.109"), "{hello:?}");

        let mut listener = canary::connect("stranger", (LISTENER, port).into(), LONG).await?;
        listener.write_all(&pgw_lab::origin::pattern(0, 1000)).await?;
        listener.shutdown().await?;
        let heard = canary::read(&mut listener, usize::MAX).await?;
        ensure!(heard == format!("203.0.113.109 {}\n", Tally::of_pattern(1000)), "{heard:?}");
    }
    let down = lab.curl("stranger", &["-o", "/run/lab/down", "https://origin/down?bytes=300000"]).await;
    down?;
    let mut tally = Tally::default();
    tally.add(&std::fs::read("/run/lab/down")?);
    ensure!(tally == Tally::of_pattern(300_000), "{tally}");
    let up = lab.curl("stranger", &["--data-binary", "@/run/lab/down", "http://origin/up"]).await?;
    ensure!(up.trim() == tally.to_string(), "{up}");
    Ok(())
}
