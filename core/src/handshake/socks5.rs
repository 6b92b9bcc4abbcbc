//! SOCKS5 (RFC 1928, with the user name and password of RFC 1929) as a client that does no
//! input or output of its own.

use std::net::IpAddr;

use super::{Destination, Refusal};
use crate::health::CheckFailure;
use crate::proxy::Credentials;

const VERSION: u8 = 5;
const NO_AUTH: u8 = 0;
const USER_PASSWORD: u8 = 2;
const NONE_ACCEPTABLE: u8 = 0xff;

/// No message of the server is longer than this.
pub const MAX_MESSAGE: usize = 4 + 1 + 255 + 2;

/// What the login comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    NeedMore,
    /// Forget the first `consumed` bytes, and send these, if any.
    Send {
        consumed: usize,
        bytes: Vec<u8>,
    },
    /// The request is taken now. Bytes behind the first `consumed` ones belong to its answer.
    LoggedIn {
        consumed: usize,
    },
    Refused(Refusal),
}

/// What the request comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    NeedMore,
    /// The tunnel stands. Bytes behind the first `consumed` ones are the tunnel's own.
    Established {
        consumed: usize,
    },
    Refused(Refusal),
}

/// What the client waits for.
#[derive(Clone, Copy)]
enum Waiting {
    Method,
    Login,
}

/// Everything before the request.
pub struct Login {
    waiting: Waiting,
    /// The login, as it is sent.
    login: Option<Vec<u8>>,
    /// It was sent together with the greeting.
    sent: bool,
}

impl Login {
    /// The login, and the greeting that begins it.
    pub fn new(credentials: Option<&Credentials>) -> Result<(Self, Vec<u8>), Refusal> {
        let login = credentials.map(login).transpose()?;
        let greeting = match login {
            Some(_) => vec![VERSION, 2, NO_AUTH, USER_PASSWORD],
            None => vec![VERSION, 1, NO_AUTH],
        };
        Ok((Self { waiting: Waiting::Method, login, sent: false }, greeting))
    }

    /// For a server that is known to read its messages one by one: all that is sent, at once. Only
    /// one method can be offered, so that what the server chooses is known.
    pub fn at_once(credentials: Option<&Credentials>) -> Result<(Self, Vec<u8>), Refusal> {
        let login = credentials.map(login).transpose()?;
        let mut bytes = vec![VERSION, 1];
        match &login {
            Some(login) => {
                bytes.push(USER_PASSWORD);
                bytes.extend_from_slice(login);
            }
            None => bytes.push(NO_AUTH),
        }
        Ok((Self { waiting: Waiting::Method, login, sent: true }, bytes))
    }

    /// Judges what has arrived and was not consumed yet.
    pub fn step(&mut self, arrived: &[u8]) -> Step {
        match (self.waiting, arrived) {
            (Waiting::Method, [version, ..]) if *version != VERSION => not_socks(),
            // Not offered: it would read the login as a request.
            (Waiting::Method, [_, NO_AUTH, ..]) if self.sent && self.login.is_some() => not_socks(),
            (Waiting::Method, [_, NO_AUTH, ..]) => Step::LoggedIn { consumed: 2 },
            (Waiting::Method, [_, USER_PASSWORD, ..]) => match &self.login {
                Some(login) => {
                    self.waiting = Waiting::Login;
                    let bytes = if self.sent { Vec::new() } else { login.clone() };
                    Step::Send { consumed: 2, bytes }
                }
                None => not_socks(),
            },
            (Waiting::Method, [_, NONE_ACCEPTABLE, ..]) => refuse(
                CheckFailure::Auth,
                match self.login {
                    Some(_) => "takes no login by user name and password",
                    None => "wants a user name and password",
                },
            ),
            (Waiting::Method, [_, _, ..]) => not_socks(),

            // The version of the login is 1; some servers repeat the 5.
            (Waiting::Login, [version, ..]) if *version != 1 && *version != VERSION => not_socks(),
            (Waiting::Login, [_, 0, ..]) => Step::LoggedIn { consumed: 2 },
            (Waiting::Login, [_, _, ..]) => {
                refuse(CheckFailure::Auth, "did not accept the user name and password")
            }

            (Waiting::Method | Waiting::Login, _) => Step::NeedMore,
        }
    }
}

/// Judges all that has arrived behind the login.
pub fn judge(arrived: &[u8]) -> Reply {
    match arrived {
        [version, ..] if *version != VERSION => Reply::Refused(no_socks()),
        [_, 0, _, kind, rest @ ..] => bound_address(*kind, rest),
        // A refusal is one as soon as it can be read: some servers send no more of it.
        [_, code, ..] if *code != 0 => Reply::Refused(refusal(*code)),
        _ => Reply::NeedMore,
    }
}

fn login(Credentials { username, password }: &Credentials) -> Result<Vec<u8>, Refusal> {
    let mut bytes = vec![1];
    for (part, what) in [(username.as_str(), "user name"), (password.expose(), "password")] {
        let length = u8::try_from(part.len()).map_err(|_too_long| {
            Refusal::new(CheckFailure::Auth, format!("the {what} is longer than SOCKS5 can carry"))
        })?;
        bytes.push(length);
        bytes.extend_from_slice(part.as_bytes());
    }
    Ok(bytes)
}

pub fn request(dest: &Destination) -> Result<Vec<u8>, Refusal> {
    let mut bytes = vec![VERSION, 1, 0];
    let port = match dest {
        Destination::Addr(addr) => {
            bytes.push(1);
            bytes.extend_from_slice(&addr.ip().octets());
            addr.port()
        }
        Destination::Name(host, port) => {
            match host.as_str().parse::<IpAddr>() {
                Ok(IpAddr::V4(ip)) => {
                    bytes.push(1);
                    bytes.extend_from_slice(&ip.octets());
                }
                Ok(IpAddr::V6(ip)) => {
                    bytes.push(4);
                    bytes.extend_from_slice(&ip.octets());
                }
                Err(_) => {
                    let name = host.as_str().as_bytes();
                    let length = u8::try_from(name.len()).map_err(|_too_long| {
                        Refusal::new(CheckFailure::Target, "the name is longer than SOCKS5 can carry")
                    })?;
                    bytes.extend_from_slice(&[3, length]);
                    bytes.extend_from_slice(name);
                }
            }
            *port
        }
    };
    bytes.extend_from_slice(&port.to_be_bytes());
    Ok(bytes)
}

/// The address from which the server dialled is of no use, but its length is.
fn bound_address(kind: u8, rest: &[u8]) -> Reply {
    let address = match (kind, rest) {
        (1, _) => 4,
        (4, _) => 16,
        (3, [length, ..]) => 1 + usize::from(*length),
        (3, []) => return Reply::NeedMore,
        _ => return Reply::Refused(no_socks()),
    };
    let consumed = 4 + address + 2;
    if 4 + rest.len() < consumed { Reply::NeedMore } else { Reply::Established { consumed } }
}

fn refusal(code: u8) -> Refusal {
    let (kind, words) = match code {
        1 => (CheckFailure::Target, "general failure of the proxy"),
        2 => (CheckFailure::Target, "not allowed by the proxy's rules"),
        3 => (CheckFailure::Target, "network unreachable from the proxy"),
        4 => (CheckFailure::Target, "host unreachable from the proxy"),
        5 => (CheckFailure::Target, "connection refused by the destination"),
        6 => (CheckFailure::Target, "the proxy's packets ran out of hops"),
        7 => (CheckFailure::BadAnswer, "the proxy does not know CONNECT"),
        8 => (CheckFailure::Target, "the proxy does not take this kind of address"),
        _ => (CheckFailure::BadAnswer, "a code that SOCKS5 does not have"),
    };
    Refusal::new(kind, format!("SOCKS5 reply {code}: {words}"))
}

fn refuse(kind: CheckFailure, detail: &str) -> Step {
    Step::Refused(Refusal::new(kind, format!("the proxy {detail}")))
}

fn not_socks() -> Step {
    Step::Refused(no_socks())
}

fn no_socks() -> Refusal {
    Refusal::new(CheckFailure::BadAnswer, "the answer is not SOCKS5")
}

#[cfg(test)]
mod tests;
