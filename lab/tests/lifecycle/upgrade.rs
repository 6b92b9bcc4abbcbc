//! From the previous package to this one, with connections open (G24).

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pgw_lab::Lab;
use pgw_lab::canary::{LONG, connect};
use pgw_lab::machine::package;
use pgw_lab::net::{C1, GREETER, ORIGIN};
use pgw_lab::upstream::Kind;
use pgw_lab::vigil::Vigil;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::numbers;
use crate::setup::{DAEMONS, FORWARDER, in_the_lab, installed, is_open, on_a_machine};

crate::tests![g7_an_upgrade_refuses_no_connection_and_cuts_none];

/// A request as a device makes it, from the connection to the last byte.
async fn request() -> Result<()> {
    let mut stream = connect(C1.name, (ORIGIN, 80).into(), LONG).await.context("refused")?;
    finish(&mut stream).await
}

async fn finish(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(b"GET / HTTP/1.0\r\nHost: origin\r\n\r\n").await?;
    let mut answer = String::new();
    tokio::time::timeout(LONG, stream.read_to_string(&mut answer)).await.context("no answer")??;
    ensure!(answer.contains(&Kind::Squid.ip().to_string()), "answered {answer:?}");
    Ok(())
}

/// One after the other, without a pause, until it is told to end. Gives how many there were.
async fn requests(stopped: watch::Receiver<bool>) -> Result<u32> {
    let mut count = 0;
    while !*stopped.borrow() {
        request().await.with_context(|| format!("after {count} requests"))?;
        count += 1;
    }
    Ok(count)
}

async fn g7_an_upgrade_refuses_no_connection_and_cuts_none(mut lab: Lab) -> Result<()> {
    on_a_machine(async |machine| {
        let (rest, mapping) = installed(&mut lab, machine, &package("pgw", true)?).await?;
        let settings = machine.shell("cat /etc/pgw/pgw.env").await?;
        let old = in_the_lab(machine, FORWARDER).await?;
        let old_api = in_the_lab(machine, "pgw-api.service").await?;

        // The server speaks first: the tunnel stands, and lasts.
        let mut lasts = connect(C1.name, (GREETER, 80).into(), LONG).await?;
        let mut greeting = [0; 4];
        tokio::time::timeout(LONG, lasts.read_exact(&mut greeting)).await??;
        let vigil = Vigil::begin(C1).await?;
        let (stop, stopped) = watch::channel(false);
        let busy = tokio::spawn(requests(stopped));

        let told = machine.install(&package("pgw", false)?).await?;
        let new = in_the_lab(machine, FORWARDER).await?;
        ensure!(new != old, "the forwarder is the old one: {told}\n{}", machine.journal(FORWARDER).await?);
        ensure!(in_the_lab(machine, "pgw-api.service").await? != old_api, "the API is the old one: {told}");
        for unit in DAEMONS {
            machine.wait(unit, "active").await?;
        }
        rest.wait_ready().await?;
        rest.wait_state(&mapping, "APPLIED").await?;
        // And once more, as an operator does it.
        machine.run(&["systemctl", "reload", FORWARDER]).await?;
        ensure!(in_the_lab(machine, FORWARDER).await? != new, "reloaded, and still the same");

        tokio::time::sleep(Duration::from_millis(100)).await;
        stop.send_replace(true);
        let count = busy.await??;
        ensure!(count > 10, "only {count} requests were tried");
        let none = format!("0 of {count}");
        numbers::keep("6-upgrade", "requests refused or cut during an upgrade", "0", &none)?;
        // The connection from before goes on in the process that has it.
        ensure!(std::path::Path::new(&format!("/proc/{old}")).exists(), "the old forwarder is gone");
        lasts.write_all(b"still here?\r\n").await?;
        let mut more = [0; 1];
        let end = tokio::time::timeout(Duration::from_millis(300), lasts.read(&mut more)).await;
        ensure!(!matches!(end, Ok(Ok(0) | Err(_))), "the connection from before was cut");
        ensure!(machine.shell("cat /etc/pgw/pgw.env").await? == settings, "the operator's settings changed");
        is_open(&lab, C1).await?;
        // Stopped, all of it is gone.
        drop(lasts);
        vigil.end(&[Kind::Squid.ip()]).await
    })
    .await
}
