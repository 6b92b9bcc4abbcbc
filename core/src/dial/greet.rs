//! The handshakes, spoken over a stream.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::DialError;
use crate::handshake::http_connect::{self, Answer};
use crate::handshake::socks5::{self, Step};
use crate::handshake::{Destination, Refusal};
use crate::health::CheckFailure;
use crate::proxy::Credentials;

const USUAL_ANSWER: usize = 512;

/// Asks for a tunnel by HTTP CONNECT; returns what came behind the answer.
pub(super) async fn http_connect(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    dest: &Destination,
    credentials: Option<&Credentials>,
) -> Result<Vec<u8>, DialError> {
    say(stream, &http_connect::request(dest, credentials)).await?;
    let mut arrived = Vec::with_capacity(USUAL_ANSWER);
    loop {
        hear(stream, &mut arrived, http_connect::MAX_HEADER).await?;
        match http_connect::judge(&arrived) {
            Answer::NeedMore => {}
            Answer::Established { consumed } => {
                arrived.drain(..consumed);
                return Ok(arrived);
            }
            Answer::Refused(status) => return Err(http_connect::refusal(status).into()),
            Answer::NotHttp => return Err(bad_answer("the answer is not HTTP/1")),
            Answer::TooLong => return Err(bad_answer("the header of the answer does not end")),
        }
    }
}

/// Asks for a tunnel by SOCKS5; returns what came behind the answer.
pub(super) async fn socks5(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    dest: &Destination,
    credentials: Option<&Credentials>,
) -> Result<Vec<u8>, DialError> {
    let (mut handshake, greeting) = socks5::Handshake::new(dest, credentials)?;
    say(stream, greeting).await?;
    let mut arrived = Vec::with_capacity(USUAL_ANSWER);
    loop {
        match handshake.step(&arrived) {
            Step::NeedMore => hear(stream, &mut arrived, socks5::MAX_MESSAGE).await?,
            Step::Send { consumed, bytes } => {
                arrived.drain(..consumed);
                say(stream, &bytes).await?;
            }
            Step::Established { consumed } => {
                arrived.drain(..consumed);
                return Ok(arrived);
            }
            Step::Refused(refusal) => return Err(refusal.into()),
        }
    }
}

impl From<Refusal> for DialError {
    fn from(Refusal { kind, detail }: Refusal) -> Self {
        Self::new(kind, detail, None)
    }
}

fn bad_answer(detail: &str) -> DialError {
    DialError::new(CheckFailure::BadAnswer, detail, None)
}

fn broken(source: io::Error) -> DialError {
    DialError::new(CheckFailure::BadAnswer, format!("during the handshake: {source}"), Some(source))
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<(), DialError> {
    stream.write_all(bytes).await.map_err(broken)?;
    stream.flush().await.map_err(broken)
}

/// Waits for more, up to `most` bytes in all.
async fn hear(
    stream: &mut (impl AsyncRead + Unpin),
    arrived: &mut Vec<u8>,
    most: usize,
) -> Result<(), DialError> {
    let room = most.saturating_sub(arrived.len());
    // What waits in the kernel is the tunnel's own sooner or later: nothing is lost by a bound.
    let read = AsyncReadExt::take(stream, u64::try_from(room).unwrap_or(u64::MAX)).read_buf(arrived).await;
    match read {
        Ok(0) => Err(bad_answer("the connection was closed in the middle of the handshake")),
        Ok(_) => Ok(()),
        Err(source) => Err(broken(source)),
    }
}
