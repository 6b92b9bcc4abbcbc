//! Proxies and origins that do as the test wants.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What a fake proxy does with a request.
#[derive(Clone, Copy)]
pub(super) enum Manner {
    /// Goes to this origin, wherever it was asked to go; `early` is sent with the answer.
    Tunnel {
        origin: SocketAddr,
        early: &'static str,
    },
    Answer(&'static str),
    Hang,
}

pub(super) struct FakeProxy {
    pub(super) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl FakeProxy {
    pub(super) async fn new(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = asked.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(speak(stream, manner, noted.clone()));
            }
        });
        Self { address, asked }
    }

    pub(super) async fn to(origin: SocketAddr) -> Self {
        Self::new(Manner::Tunnel { origin, early: "" }).await
    }

    /// The authorities that were asked for.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// A proxy's side of one connection.
pub(super) async fn speak(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    manner: Manner,
    asked: Arc<Mutex<Vec<String>>>,
) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    let request = String::from_utf8(request).unwrap();
    asked.lock().unwrap().push(request.split(' ').nth(1).unwrap().to_owned());
    match manner {
        Manner::Tunnel { origin, early } => {
            let mut origin = TcpStream::connect(origin).await.unwrap();
            let answer = format!("HTTP/1.1 200 Connection established\r\n\r\n{early}");
            stream.write_all(answer.as_bytes()).await.unwrap();
            let _ended = copy_bidirectional(&mut stream, &mut origin).await;
        }
        Manner::Answer(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
        Manner::Hang => std::future::pending().await,
    }
}

/// An origin that serves each connection by `serve`.
pub(super) async fn origin<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// Reads to the end, and then says how much it was and what.
pub(super) async fn listens_first(mut stream: TcpStream) {
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).await.unwrap();
    let answer = format!("heard {}: ", heard.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.write_all(&heard).await.unwrap();
}

/// Sends back what it hears, as it hears it.
pub(super) async fn echoes(mut stream: TcpStream) {
    let (mut read, mut write) = stream.split();
    let _ended = tokio::io::copy(&mut read, &mut write).await;
}

/// A server's side of TLS under this name, and who trusts it.
pub(super) fn certified(name: &str) -> (TlsAcceptor, ClientConfig) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec![name.into()]).unwrap();
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
    (TlsAcceptor::from(Arc::new(server)), trusting)
}
