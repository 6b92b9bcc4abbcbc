//! Visitors who come to the gateway's own port by TLS: whose certificate they are shown, and what they
//! may download.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pgw_core::tunnel::{Protocol, Route};
use pgw_tunnel::wire::SERVER_NAME;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::world::{PATIENCE, World, noise};

const HOST: &str = "demo.tunnels.example.com";
const PROGRAM: &str = "pgw-connect-linux-x86_64";

/// Everything that comes back to a visitor who believes in this one, and in nobody else.
async fn ask(world: &World, authority: &Path, name: &str, request: &str) -> std::io::Result<Vec<u8>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(world.address).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    stream.write_all(format!("{request}connection: close\r\n\r\n").as_bytes()).await?;
    let mut got = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut got)).await.expect("no answer")?;
    Ok(got)
}

fn download(host: &str, name: &str) -> String {
    format!("GET /download/{name} HTTP/1.1\r\nhost: {host}\r\n")
}

fn status(answer: &[u8]) -> &str {
    std::str::from_utf8(&answer[9..12]).unwrap()
}

/// As an operator would: for all names below the domain.
fn certificate(world: &World) -> (PathBuf, PathBuf) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![HOST.to_owned(), "gw.example.com".to_owned()]).unwrap();
    let (chain, secret) = (world.dir.path().join("cert.pem"), world.dir.path().join("key.pem"));
    std::fs::write(&chain, params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&secret, key.serialize_pem()).unwrap();
    (chain, secret)
}

#[tokio::test]
async fn visitors_are_shown_the_operators_certificate_and_clients_the_gateways_own() {
    let mut world = World::new().await;
    let files = certificate(&world);
    world.stop().await;
    world.certificate = Some(files.clone());
    world.start().await;
    let (id, token) = world.client("pc").await;
    world.tunnel(id, Protocol::Http, 0, crate::http::server().await);
    let route = Route { host: "demo".to_owned(), path: None, header: None };
    world.desired.tunnels[0].route = Some(route);
    world.apply().await;
    let _machine = world.connect("pc", &token, &[]);
    world.until_active(1).await;
    let request = format!("GET /x HTTP/1.1\r\nhost: {HOST}\r\n");
    let got = String::from_utf8(ask(&world, &files.0, HOST, &request).await.unwrap()).unwrap();
    assert!(got.starts_with("HTTP/1.1 200") && got.contains("x-forwarded-proto: https"), "{got}");
    let own = world.dir.path().join("tunnel/ca.pem");
    ask(&world, &own, HOST, &request).await.unwrap_err();
}

#[tokio::test]
async fn a_machine_that_has_nothing_yet_downloads_the_program_whole() {
    let mut world = World::new().await;
    let own = world.dir.path().join("tunnel/ca.pem");
    let program = noise(3_000_000);
    std::fs::create_dir(world.downloads()).unwrap();
    std::fs::write(world.downloads().join(PROGRAM), &program).unwrap();
    std::fs::write(world.downloads().join("secret"), "secret").unwrap();
    // By the name in the gateway's own certificate, as whoever was given its authority asks.
    let got = ask(&world, &own, SERVER_NAME, &download(SERVER_NAME, PROGRAM)).await.unwrap();
    assert!(got.ends_with(&program), "{}", got.len());
    let got = ask(&world, &own, SERVER_NAME, &download(SERVER_NAME, "secret")).await.unwrap();
    assert_eq!(status(&got), "404");
    // Any other visitor is shown it as well if there is none of the operator's, and may not believe it.
    let error = ask(&world, &own, "127.0.0.1", &download("127.0.0.1", PROGRAM)).await.unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");
    let files = certificate(&world);
    world.stop().await;
    world.certificate = Some(files.clone());
    world.start().await;
    let name = "gw.example.com";
    let got = ask(&world, &files.0, name, &download(name, PROGRAM)).await.unwrap();
    let end = got.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8_lossy(&got[..end]).into_owned();
    assert!(head.contains("content-length: 3000000") && head.contains("etag: "), "{head}");
    assert_eq!(Sha256::digest(&got[end..]), Sha256::digest(&program));
    for other in ["secret", "../tunnel/ca.pem", "..%2ftunnel%2fca.pem", "", "pgw-connect-linux-arm64"] {
        let got = ask(&world, &files.0, name, &download(name, other)).await.unwrap();
        assert_eq!(status(&got), "404", "{other}");
    }
    // Not without TLS, and not in the name of a tunnel.
    let mut plain = TcpStream::connect(world.address).await.unwrap();
    let request = format!("{}connection: close\r\n\r\n", download(name, PROGRAM));
    plain.write_all(request.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    timeout(PATIENCE, plain.read_to_end(&mut got)).await.unwrap().unwrap();
    assert_eq!(status(&got), "404");
    let (id, _) = world.client("pc").await;
    world.tunnel(id, Protocol::Http, 0, ([127, 0, 0, 1], 9).into());
    world.desired.tunnels[0].route = Some(Route { host: name.to_owned(), path: None, header: None });
    world.apply().await;
    let got = ask(&world, &files.0, name, &download(name, PROGRAM)).await.unwrap();
    assert_eq!(status(&got), "503", "it is the tunnel's, and its client is away");
}
