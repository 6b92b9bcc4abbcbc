//! `target: hostname`: the upstream is asked for the name that the device says, and for the
//! address when it says none (G2, G10).

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};
use pgw_lab::Lab;
use pgw_lab::canary::{self, LONG};
use pgw_lab::lab::{Ready, eventually};
use pgw_lab::net::{C1, C2, Device, GREETER};
use pgw_lab::upstream::Kind;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

crate::tests![
    by_hostname_the_upstream_finds_the_server_whatever_address_the_device_has,
    by_hostname_a_hello_in_many_records_and_segments_is_understood,
    by_hostname_who_names_nobody_goes_where_he_meant,
];

/// Who goes there by address arrives nowhere.
const NOBODY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);

async fn mapped_by_hostname(lab: &mut Lab, ready: &Ready, device: Device, kind: Kind) -> Result<()> {
    let mapping = lab.mapped(ready, device, &[kind]).await?.remove(0);
    let by_address = seen_at_nobody(lab, device, "http").await;
    ensure!(by_address.is_err(), "the address of nobody answers: {by_address:?}");
    ready.rest.patch(&format!("/v1/mappings/{}", mapping.id), json!({ "target": "hostname" })).await?;
    eventually("the upstream is asked for the name", async || {
        Ok(seen_at_nobody(lab, device, "http").await.ok())
    })
    .await
    .map(drop)
}

/// A device that has the wrong address of the origin.
async fn seen_at_nobody(lab: &Lab, device: Device, scheme: &str) -> Result<String> {
    let wrong = |port| format!("origin:{port}:{NOBODY}");
    let url = format!("{scheme}://origin/");
    let words = ["--max-time", "3", "--resolve", &wrong(80), "--resolve", &wrong(443), &url];
    Ok(lab.curl(device.name, &words).await?.trim().to_owned())
}

async fn by_hostname_the_upstream_finds_the_server_whatever_address_the_device_has(
    mut lab: Lab,
) -> Result<()> {
    let ready = lab.gateway().await?;
    for (device, kind) in [(C1, Kind::Squid), (C2, Kind::Microsocks)] {
        mapped_by_hostname(&mut lab, &ready, device, kind).await?;
        for scheme in ["http", "https"] {
            let seen = seen_at_nobody(&lab, device, scheme).await?;
            ensure!(seen == kind.ip().to_string(), "{} is seen as {seen} by {scheme}", device.name);
        }
    }
    for who in [C1.name, C2.name, "gw"] {
        let leaked = lab.leaks(who).await?;
        ensure!(leaked.total() == 0, "{who} went directly: {leaked:?}");
    }
    Ok(())
}

async fn by_hostname_a_hello_in_many_records_and_segments_is_understood(mut lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    mapped_by_hostname(&mut lab, &ready, C1, Kind::Microsocks).await?;
    for (record, segment) in [(1000, 1000), (1000, 1), (20, 7), (1, 1)] {
        let mut stream = canary::connect(C1.name, (NOBODY, 443).into(), LONG).await?;
        stream.set_nodelay(true)?;
        for part in hello("origin", record).chunks(segment) {
            stream.write_all(part).await?;
        }
        let mut first = [0];
        tokio::time::timeout(LONG, stream.read_exact(&mut first)).await??;
        // A server's hello or its alert: that somebody speaks TLS is what could not be otherwise.
        ensure!(matches!(first, [21 | 22]), "records of {record} in segments of {segment}: {first:?}");
    }
    Ok(())
}

async fn by_hostname_who_names_nobody_goes_where_he_meant(mut lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    mapped_by_hostname(&mut lab, &ready, C1, Kind::Microsocks).await?;
    let (itself, address) = (hello("localhost", 1000), hello("127.0.0.1", 1000));
    for (what, said) in [
        ("silence", &b""[..]),
        ("HTTP/2 with prior knowledge", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("a hello of SSLv2", b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10"),
        ("garbage", b"\x00\xff\x00\xff"),
        ("half a request", b"GET / HT"),
        ("no host", b"GET / HTTP/1.0\r\n\r\n"),
        ("two hosts", b"GET / HTTP/1.1\r\nHost: origin\r\nHost: origin\r\n\r\n"),
        ("a folded host", b"GET / HTTP/1.1\r\nHost:\r\n origin\r\n\r\n"),
        ("a request to a proxy", b"GET http://origin/ HTTP/1.1\r\nHost: origin\r\n\r\n"),
        ("another request to a proxy", b"CONNECT origin:80 HTTP/1.1\r\nHost: origin:80\r\n\r\n"),
        ("the upstream itself", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("the upstream itself in disguise", b"GET / HTTP/1.1\r\nHost: 0x7f000001\r\n\r\n"),
        ("the upstream itself by TLS", &itself),
        ("the upstream itself by TLS and address", &address),
    ] {
        echoed(said).await.context(what)?;
    }
    Ok(())
}

/// The server greets first, so that only what was said before may come back behind its words.
async fn echoed(said: &[u8]) -> Result<()> {
    let mut stream = canary::connect(C1.name, (GREETER, 80).into(), LONG).await?;
    stream.write_all(said).await?;
    let greeting = format!("hello {}\r\n", Kind::Microsocks.ip());
    let heard = canary::read(&mut stream, greeting.len() + said.len()).await?;
    ensure!(heard == greeting + &String::from_utf8_lossy(said), "{heard:?}");
    Ok(())
}

/// A hello that asks for `name`, in records of so many bytes.
fn hello(name: &str, record: usize) -> Vec<u8> {
    let name = [&[0][..], &field(2, name.as_bytes())].concat();
    let name = [&[0, 0][..], &field(2, &field(2, &name))].concat();
    let ciphers = field(2, &[0xc0, 0x2f, 0xc0, 0x2b]);
    let body = [&[3, 3][..], &[7; 32], &[0], &ciphers, &[1, 0], &field(2, &name)].concat();
    let message = [&[1][..], &field(3, &body)].concat();
    message.chunks(record).flat_map(|part| [&[22, 3, 1][..], &field(2, part)].concat()).collect()
}

/// With its length in front, in `width` bytes.
fn field(width: usize, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    length.into_iter().skip(size_of::<usize>() - width).chain(content.iter().copied()).collect()
}
