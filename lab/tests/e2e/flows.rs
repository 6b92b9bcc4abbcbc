//! A connection that began under other rules does not outlive them, in neither direction, and
//! nobody else's is touched (G1, G9).

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pgw_lab::canary::{self, LONG, PATIENCE};
use pgw_lab::gateway::Program;
use pgw_lab::names::{self, Answer};
use pgw_lab::net::{C1, C2, GREETER, ORIGIN, STRANGER};
use pgw_lab::origin::STREAM_PORT;
use pgw_lab::upstream::Kind;
use pgw_lab::{Lab, command};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UdpSocket};

crate::tests![
    a_download_that_began_before_the_registration_gets_no_further_byte,
    a_stream_of_datagrams_that_began_before_the_registration_ends_with_it,
    a_device_that_keeps_asking_from_one_port_has_the_new_way_at_once,
    open_connections_outlive_a_flush_and_another_agent,
];

/// Much longer than a round trip.
const SILENCE: Duration = Duration::from_secs(1);

/// Reads whatever is there already.
fn drain(mut read: impl FnMut(&mut [u8]) -> std::io::Result<usize>) -> usize {
    let mut buffer = [0; 64 << 10];
    let mut all = 0;
    while let Ok(length @ 1..) = read(&mut buffer) {
        all += length;
    }
    all
}

/// What else comes within a second, once all that had arrived is read.
async fn further(mut read: impl FnMut(&mut [u8]) -> std::io::Result<usize>) -> usize {
    drain(&mut read);
    tokio::time::sleep(PATIENCE).await;
    drain(&mut read);
    tokio::time::sleep(SILENCE).await;
    drain(&mut read)
}

/// Counts what reaches a device from the origin, retransmissions included.
async fn count_arrivals(device: &str) -> Result<()> {
    let rule = format!("ip saddr {ORIGIN} counter");
    let text =
        format!("table ip heard {{\n chain in {{\n  type filter hook input priority 0;\n  {rule}\n }}\n}}\n");
    command::ok_with(device, &["nft", "-f", "-"], &text).await.map(drop)
}

async fn arrivals(device: &str) -> Result<String> {
    let listed = command::ok(device, &["nft", "list", "table", "ip", "heard"]).await?;
    let counter = listed.lines().find_map(|line| line.split_once("counter ")).context("it has a counter")?;
    Ok(counter.1.trim().to_owned())
}

async fn a_download_that_began_before_the_registration_gets_no_further_byte(lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    count_arrivals(C1.name).await?;
    let mut downloads = Vec::new();
    for device in [C1, STRANGER] {
        let mut stream = canary::connect(device.name, (ORIGIN, 80).into(), LONG).await?;
        stream.write_all(b"GET /down?bytes=100000000000 HTTP/1.0\r\n\r\n").await?;
        canary::read(&mut stream, 100_000).await?;
        downloads.push(stream);
    }
    let [of_c1, of_stranger]: [TcpStream; 2] =
        downloads.try_into().ok().context("there are two downloads")?;
    ready.rest.add_client(C1).await?;
    let (before, arrived) = (lab.leaks(C1.name).await?, arrivals(C1.name).await?);
    ensure!(arrived != "packets 0 bytes 0", "nothing is counted");
    let more = further(|buffer| of_c1.try_read(buffer)).await;
    ensure!(more == 0, "{more} more bytes came in after the registration");
    let now = arrivals(C1.name).await?;
    ensure!(now == arrived, "packets still come in: {arrived}, then {now}");
    let leaked = lab.leaks(C1.name).await?.since(&before);
    ensure!(leaked.total() == 0, "the old connection still sends: {leaked:?}");
    ensure!(further(|buffer| of_stranger.try_read(buffer)).await > 0, "the stranger's has ended, too");
    Ok(())
}

/// A device says one word, and hears on and on.
async fn listen_on(device: &str) -> Result<UdpSocket> {
    let socket = canary::datagrams(device, (ORIGIN, STREAM_PORT).into()).await?;
    let heard = canary::ask_by(&socket, b"go on", LONG).await?;
    heard.with_context(|| format!("{device} hears nothing"))?;
    Ok(socket)
}

async fn a_stream_of_datagrams_that_began_before_the_registration_ends_with_it(lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    let (of_c1, of_c2) = (listen_on(C1.name).await?, listen_on(C2.name).await?);
    let of_stranger = listen_on(STRANGER.name).await?;
    // Closed directly; and mapped, which is another way to be registered.
    ready.rest.add_client(C1).await?;
    let more = further(|buffer| of_c1.try_recv(buffer)).await;
    ensure!(more == 0, "{more} more bytes came in after the registration");
    ensure!(further(|buffer| of_c2.try_recv(buffer)).await > 0, "C2's has ended with C1's");
    let mut lab = lab;
    lab.mapped(&ready, C2, &[Kind::Squid]).await?;
    let more = further(|buffer| of_c2.try_recv(buffer)).await;
    ensure!(more == 0, "{more} more bytes came in after the mapping");
    ensure!(further(|buffer| of_stranger.try_recv(buffer)).await > 0, "the stranger's has ended, too");
    Ok(())
}

async fn a_device_that_keeps_asking_from_one_port_has_the_new_way_at_once(mut lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    let socket = canary::datagrams(C1.name, (ORIGIN, 53).into()).await?;
    let direct = async || {
        let told = canary::ask_by(&socket, b"who am I?", LONG).await?;
        let told = String::from_utf8_lossy(&told.unwrap_or_default()).into_owned();
        ensure!(told == C1.direct.to_string(), "told {told:?}");
        Ok(())
    };
    direct().await?;
    let mapping = lab.mapped(&ready, C1, &[Kind::Squid]).await?.remove(0);
    let told = names::ask_by(&socket, "www.example.com", LONG).await?;
    ensure!(told == Some(Answer::Address(Kind::Squid.ip())), "after the mapping: {told:?}");
    ready.rest.delete(&format!("/v1/mappings/{}", mapping.id)).await?;
    let told = canary::ask_by(&socket, b"who am I?", PATIENCE).await?;
    ensure!(told.is_none(), "a closed device is answered: {told:?}");
    ready.rest.delete(&format!("/v1/clients/{}", mapping.client)).await?;
    direct().await
}

async fn open_connections_outlive_a_flush_and_another_agent(mut lab: Lab) -> Result<()> {
    let mut ready = lab.gateway().await?;
    lab.mapped(&ready, C1, &[Kind::Squid]).await?;
    let mut open = canary::connect(C1.name, (GREETER, 443).into(), LONG).await?;
    let hello = format!("hello {}\r\n", Kind::Squid.ip());
    ensure!(canary::read(&mut open, hello.len()).await? == hello, "another greeting");
    let mut talk = async |word: &str| {
        open.write_all(word.as_bytes()).await?;
        let echo = canary::read(&mut open, word.len()).await?;
        ensure!(echo == word, "the echo of {word:?} is {echo:?}");
        Ok(())
    };
    talk("one").await?;
    for table in [["ip", "pgw"], ["inet", "pgw_filter"]] {
        let before = crate::drift::drift(&ready.rest).await?.count;
        command::ok("gw", &[&["nft", "delete", "table"][..], &table].concat()).await?;
        crate::drift::healed(&ready.rest, before).await?;
        talk("two").await?;
    }
    ready.gateway.kill(Program::Agent).await?;
    ready.gateway.start(Program::Agent).await?;
    crate::drift::reconciled(&ready.rest).await?;
    talk("three").await
}
