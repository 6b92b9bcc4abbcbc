//! One connection to a resolver, through an upstream: DNS over HTTPS (RFC 8484) or over TCP
//! (RFC 7766). One question at a time; who waits takes another connection.

use std::io;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use pgw_core::dial::{Dialer, Stream, Tunnel};
use pgw_core::dns::Resolver;
use pgw_core::proxy::Host;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_util::task::AbortOnDropHandle;

use super::message::{Answer, Key};

const MESSAGE: &str = "application/dns-message";
const MAX_MESSAGE: usize = 65_535;
/// For the resolver's HTTP headers.
const MAX_HEADERS: usize = 16 * 1024;

pub(super) enum Wire {
    Https(Https),
    Tcp(Stream),
}

pub(super) struct Https {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
    path: String,
    /// Moves the bytes; the connection closes at once when it is dropped.
    _driver: AbortOnDropHandle<()>,
}

impl Wire {
    /// A connection to the resolver at the end of this tunnel. The error says what failed, and
    /// no name.
    pub(super) async fn over(dialer: &Dialer, tunnel: Tunnel, resolver: &Resolver) -> Result<Self, String> {
        if !tunnel.early.is_empty() {
            return Err("somebody spoke before he was asked".to_owned());
        }
        match resolver {
            Resolver::Tcp(_) => Ok(Self::Tcp(tunnel.stream)),
            Resolver::Https { path, .. } => {
                let name: Host =
                    resolver.address().ip().to_string().parse().map_err(|bad| format!("{bad}"))?;
                let tls = dialer.tls_over(&name, tunnel.stream).await.map_err(|error| error.to_string())?;
                Https::over(tls, resolver.authority(), path.clone())
                    .await
                    .map(Self::Https)
                    .map_err(|error| error.to_string())
            }
        }
    }

    /// Has the connection ended while nobody used it? TCP shows that with the next question.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self, Self::Https(https) if https.sender.is_closed())
    }

    pub(super) async fn ask(&mut self, key: &Key) -> Result<Answer, String> {
        // Over HTTPS the number is always 0, so that equal questions look equal.
        let id = match self {
            Self::Https(_) => 0,
            Self::Tcp(_) => rand::random(),
        };
        let question = key.asked(id).ok_or("the question fits no message")?;
        let answer = match self {
            Self::Https(https) => https.ask(question).await.map_err(|error| error.to_string())?,
            Self::Tcp(stream) => ask_tcp(stream, &question).await.map_err(|error| error.to_string())?,
        };
        key.judge(id, answer).map_err(|error| error.to_string())
    }
}

impl Https {
    async fn over<S>(stream: S, authority: String, path: String) -> hyper::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut builder = Builder::new();
        builder.max_buf_size(MAX_HEADERS);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(async move {
            // Whoever asks hears of the error; an idle connection may end as it likes.
            let _ended = connection.await;
        });
        Ok(Self { sender, authority, path, _driver: AbortOnDropHandle::new(driver) })
    }

    async fn ask(&mut self, question: Vec<u8>) -> io::Result<Vec<u8>> {
        let request = Request::post(&self.path)
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, MESSAGE)
            .header(ACCEPT, MESSAGE)
            .body(Full::new(Bytes::from(question)))
            .map_err(io::Error::other)?;
        self.sender.ready().await.map_err(io::Error::other)?;
        let response = self.sender.send_request(request).await.map_err(io::Error::other)?;
        if response.status() != StatusCode::OK {
            return Err(io::Error::other(format!("the resolver says {}", response.status())));
        }
        let is_message = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == MESSAGE);
        if !is_message {
            return Err(io::Error::other("the resolver answers with something that is not DNS"));
        }
        let body = Limited::new(response.into_body(), MAX_MESSAGE).collect().await;
        Ok(body.map_err(io::Error::other)?.to_bytes().into())
    }
}

async fn ask_tcp(stream: &mut Stream, question: &[u8]) -> io::Result<Vec<u8>> {
    write_message(stream, question).await?;
    let mut answer = Vec::new();
    match read_message(stream, &mut answer).await? {
        true => Ok(answer),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Length first, in one write: some read the two apart badly.
pub(super) async fn write_message(stream: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let mut framed = Vec::with_capacity(message.len() + 2);
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(message);
    stream.write_all(&framed).await?;
    stream.flush().await
}

/// False when the other side ended cleanly, before a message.
pub(super) async fn read_message(
    stream: &mut (impl AsyncRead + Unpin),
    message: &mut Vec<u8>,
) -> io::Result<bool> {
    let mut length = [0; 2];
    let [first, second] = &mut length;
    if stream.read(std::slice::from_mut(first)).await? == 0 {
        return Ok(false);
    }
    stream.read_exact(std::slice::from_mut(second)).await?;
    message.resize(u16::from_be_bytes(length).into(), 0);
    stream.read_exact(message).await?;
    Ok(true)
}
