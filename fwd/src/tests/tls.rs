//! An upstream behind TLS carries a connection like any other, to its last byte.

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::fakes::{Manner, listens_first, origin, speak};
use super::*;

/// An https proxy for `localhost`, and who trusts it.
async fn tls_proxy(manner: Manner) -> (SocketAddr, Dialer) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let trusting = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let stream = acceptor.accept(stream).await.unwrap();
            tokio::spawn(speak(stream, manner, Arc::default()));
        }
    });
    (address, Dialer::with_tls(trusting))
}

#[tokio::test]
async fn a_half_closed_connection_is_answered_whole_through_tls() {
    let origin = origin(listens_first).await;
    let (address, dialer) = tls_proxy(Manner::Tunnel { origin, early: "early " }).await;
    let mut flag = flag(15001);
    flag.upstreams = vec![upstream("de1", address)];
    flag.upstreams[0].upstream.scheme = Scheme::Https;
    flag.upstreams[0].upstream.host = "localhost".parse().unwrap();
    let gateway = Gateway::start_with(flag, dialer, redirected(CLIENT));
    let sent: Vec<u8> = (0..2 << 20).map(|n: u32| n.to_be_bytes()[3]).collect();
    let mut client = gateway.connect().await;
    client.write_all(&sent).await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    assert!(heard.starts_with(b"early heard 2097152: ") && heard.ends_with(&sent));
}
