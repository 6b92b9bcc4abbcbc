//! A connection to an upstream, on its way to a tunnel.

use std::future::pending;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::sync::watch;

use super::talk::{Talk, bad_answer};
use super::{Deadline, DialError, Stream, Tunnel};
use crate::handshake::hello::client_hello;
use crate::handshake::http_connect::{self, Answer};
use crate::handshake::socks5::{self, Login, Reply, Step};
use crate::handshake::{Destination, Refusal};
use crate::health::CheckFailure;
use crate::proxy::{Scheme, Upstream};

/// Of any scheme; what the destination says right behind it may share its room.
const LONGEST_ANSWER: usize = http_connect::MAX_HEADER;

/// What the client has said so far, from its first byte; it grows while a tunnel is made.
pub type Said = watch::Receiver<Vec<u8>>;

#[derive(Debug)]
pub struct Line {
    stream: Stream,
    /// Up to the request: there is nothing, or nothing more, to be said before.
    greeted: bool,
}

/// How the words before the request are said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// Each when the last one was answered, as every upstream takes it.
    OneByOne,
    /// All in one packet. Some upstreams lose what comes behind the first of them.
    AtOnce,
}

/// What an upstream said to the request.
enum Verdict {
    NeedMore,
    Established { consumed: usize },
}

impl Line {
    pub(super) fn new(stream: Stream, scheme: Scheme) -> Self {
        let greeted = match scheme {
            Scheme::Http | Scheme::Https => true,
            Scheme::Socks5 => false,
        };
        Self { stream, greeted }
    }

    /// Greets and logs in, where the scheme wants it.
    pub async fn greet(
        &mut self,
        upstream: &Upstream,
        words: Words,
        deadline: Deadline,
    ) -> Result<(), DialError> {
        if self.greeted {
            return Ok(());
        }
        let credentials = upstream.credentials.as_ref();
        let (mut login, greeting) = match words {
            Words::OneByOne => Login::new(credentials)?,
            Words::AtOnce => Login::at_once(credentials)?,
        };
        let mut talk = Talk::over(&mut self.stream);
        talk.say(&greeting);
        let left = deadline
            .hold(CheckFailure::Timeout, || "while logging in".to_owned(), async {
                while !logged_in(&mut talk, &mut login)? {
                    talk.hear(socks5::MAX_MESSAGE).await?;
                }
                Ok::<usize, DialError>(talk.arrived.len())
            })
            .await??;
        if left > 0 {
            return Err(bad_answer("the proxy spoke before it was asked"));
        }
        self.greeted = true;
        Ok(())
    }

    /// Asks for the tunnel, and greets with the same words if that was not done: only for an
    /// upstream that is known to read its messages one by one. Likewise `ahead`: if the client
    /// says a ClientHello before the answer is there, it is sent before the answer is there.
    pub async fn ask(
        mut self,
        upstream: &Upstream,
        dest: &Destination,
        ahead: Option<Said>,
        deadline: Deadline,
    ) -> Result<Tunnel, DialError> {
        let asking = self.asked(upstream, dest, ahead);
        let (early, sent) = deadline
            .hold(CheckFailure::Timeout, || "while asking for the tunnel".to_owned(), asking)
            .await
            .flatten()
            .map_err(|error| DialError { asked: true, ..error })?;
        Ok(Tunnel { stream: self.stream, early, sent })
    }

    /// What came behind the answer, and how much of the client's words went before it.
    async fn asked(
        &mut self,
        upstream: &Upstream,
        dest: &Destination,
        ahead: Option<Said>,
    ) -> Result<(Vec<u8>, usize), DialError> {
        let credentials = upstream.credentials.as_ref();
        let mut talk = Talk::over(&mut self.stream);
        let mut login = None;
        if !self.greeted {
            let (awaited, words) = Login::at_once(credentials)?;
            talk.say(&words);
            login = Some(awaited);
        }
        talk.say(&match upstream.scheme {
            Scheme::Http | Scheme::Https => http_connect::request(dest, credentials),
            Scheme::Socks5 => socks5::request(dest)?,
        });
        let (mut ahead, mut sent) = (ahead, 0);
        if let Some(hello) = ahead.as_ref().and_then(|said| whole_hello(&said.borrow())) {
            (sent, ahead) = (hello.len(), None);
            talk.say(&hello);
        }
        let consumed = loop {
            let logging_in = match &mut login {
                Some(awaited) => !logged_in(&mut talk, awaited)?,
                None => false,
            };
            if !logging_in {
                login = None;
                match judge(upstream.scheme, &talk.arrived)? {
                    Verdict::Established { consumed } => break consumed,
                    Verdict::NeedMore => {}
                }
            }
            tokio::select! {
                biased;
                heard = talk.hear(LONGEST_ANSWER) => heard?,
                hello = said_later(&mut ahead) => {
                    (sent, ahead) = (hello.len(), None);
                    talk.say(&hello);
                }
            }
        };
        // What the upstream did not take yet is sent by whoever carries the rest.
        let sent =
            sent.checked_sub(talk.unsent()).ok_or_else(|| bad_answer("it answered before it was asked"))?;
        let mut early = talk.arrived;
        early.drain(..consumed);
        Ok((early, sent))
    }

    /// Ready when nothing can be had of it any more, or something that nobody asked for.
    pub fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut byte = [0];
        Pin::new(&mut self.stream).poll_read(cx, &mut ReadBuf::new(&mut byte)).map(|_read| ())
    }
}

/// Takes what has arrived of the login's answers, and says what they ask for.
fn logged_in(talk: &mut Talk<'_>, login: &mut Login) -> Result<bool, DialError> {
    loop {
        match login.step(&talk.arrived) {
            Step::NeedMore => return Ok(false),
            Step::Send { consumed, bytes } => {
                talk.arrived.drain(..consumed);
                talk.say(&bytes);
            }
            Step::LoggedIn { consumed } => {
                talk.arrived.drain(..consumed);
                return Ok(true);
            }
            Step::Refused(refusal) => return Err(refusal.into()),
        }
    }
}

fn judge(scheme: Scheme, arrived: &[u8]) -> Result<Verdict, DialError> {
    match scheme {
        Scheme::Socks5 => match socks5::judge(arrived) {
            Reply::NeedMore => Ok(Verdict::NeedMore),
            Reply::Established { consumed } => Ok(Verdict::Established { consumed }),
            Reply::Refused(refusal) => Err(refusal.into()),
        },
        Scheme::Http | Scheme::Https => match http_connect::judge(arrived) {
            Answer::NeedMore => Ok(Verdict::NeedMore),
            Answer::Established { consumed } => Ok(Verdict::Established { consumed }),
            Answer::Refused(status) => Err(http_connect::refusal(status).into()),
            Answer::NotHttp => Err(bad_answer("the answer is not HTTP/1")),
            Answer::TooLong => Err(bad_answer("the header of the answer does not end")),
        },
    }
}

fn whole_hello(said: &[u8]) -> Option<Vec<u8>> {
    client_hello(said).and_then(|end| said.get(..end)).map(<[u8]>::to_vec)
}

/// Waits for a hello, and for ever if none comes.
async fn said_later(said: &mut Option<Said>) -> Vec<u8> {
    if let Some(said) = said {
        while said.changed().await.is_ok() {
            if let Some(hello) = whole_hello(&said.borrow_and_update()) {
                return hello;
            }
        }
    }
    pending().await
}

impl From<Refusal> for DialError {
    fn from(Refusal { kind, detail }: Refusal) -> Self {
        Self::new(kind, detail, None)
    }
}
