//! Upstream proxies, and the one parser for every written form of one.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::health::Health;
use crate::ids::ProxyId;
use crate::redact::Secret;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// HTTP CONNECT.
    Http,
    /// HTTP CONNECT inside TLS to the proxy.
    Https,
    Socks5,
}

/// A proxy as the API tells it. The password is never part of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Proxy {
    pub id: ProxyId,
    pub name: String,
    pub scheme: Scheme,
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub host: Host,
    pub port: u16,
    pub username: Option<String>,
    pub has_password: bool,
    pub enabled: bool,
    pub note: String,
    pub labels: BTreeMap<String, String>,
    /// Another one after each change by an operator: what `If-Match` takes.
    pub revision: i64,
    /// As the gateway that is asked has found it.
    pub health: Health,
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    #[serde(serialize_with = "crate::time::millis")]
    pub created_at: Timestamp,
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    #[serde(serialize_with = "crate::time::millis")]
    pub updated_at: Timestamp,
}

/// Everything that is needed to dial a proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    pub name: String,
    pub scheme: Scheme,
    pub host: Host,
    pub port: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
}

/// A username may stand without a password; a password never without a username.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    pub username: String,
    #[serde(serialize_with = "Secret::write_out")]
    pub password: Secret,
}

/// A DNS name or an address that can be dialled; lower case, IPv6 without brackets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Host(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    #[error("is empty")]
    Empty,
    #[error("has a scheme that is not http, https or socks5")]
    Scheme,
    #[error("is not a host name, an IPv4 or an IPv6 address")]
    Host,
    #[error("has no port; write host:port")]
    NoPort,
    #[error("has a port that is not a number from 1 to 65535")]
    Port,
    #[error("has a % that is not followed by two hexadecimal digits")]
    Percent,
    #[error("has something behind the port")]
    Trailing,
    #[error("can be read as host:port:user:password and as user:password@host:port; write it as a URL")]
    Ambiguous,
    #[error("has a user name that is empty, longer than 1024 bytes, or with a control character")]
    Username,
    #[error("has a password longer than 1024 bytes or with a control character")]
    Password,
    #[error("has a user name with a colon, which an HTTP proxy would take for the end of it")]
    Colon,
    #[error("has a user name longer than the 255 bytes that SOCKS5 carries")]
    LongUsername,
    #[error("has a password longer than the 255 bytes that SOCKS5 carries")]
    LongPassword,
}

impl Host {
    /// For names that stand in the source.
    pub(crate) fn known(name: &'static str) -> Self {
        debug_assert!(is_dns_name(name));
        Self(name.to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Host {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Self, ProxyError> {
        let bare = match text.strip_prefix('[') {
            Some(rest) => {
                rest.strip_suffix(']').filter(|v6| v6.parse::<Ipv6Addr>().is_ok()).ok_or(ProxyError::Host)?
            }
            None => text,
        };
        if bare.is_empty() {
            return Err(ProxyError::Empty);
        }
        if bare.parse::<Ipv6Addr>().is_ok() || bare.parse::<Ipv4Addr>().is_ok() || is_dns_name(bare) {
            Ok(Self(bare.to_ascii_lowercase()))
        } else {
            Err(ProxyError::Host)
        }
    }
}

/// A name that can be asked of DNS: labels of letters, digits, `-` and `_`, and a last label
/// that is not a number: resolvers take `127.1` and `0x7f000001` for addresses.
pub fn is_dns_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let label_ok = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_number = |label: &str| match label.strip_prefix("0x").or_else(|| label.strip_prefix("0X")) {
        Some(hex) => hex.bytes().all(|b| b.is_ascii_hexdigit()),
        None => label.bytes().all(|b| b.is_ascii_digit()),
    };
    !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(label_ok)
        && name.rsplit('.').next().is_some_and(|last| !is_number(last))
}

impl TryFrom<String> for Host {
    type Error = ProxyError;

    fn try_from(text: String) -> Result<Self, ProxyError> {
        text.parse()
    }
}

impl From<Host> for String {
    fn from(host: Host) -> Self {
        host.0
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
        })
    }
}

impl FromStr for Scheme {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Self, ProxyError> {
        match text.to_ascii_lowercase().as_str() {
            "http" => Ok(Self::Http),
            "https" => Ok(Self::Https),
            // `socks5h` says that names go to the proxy, which pgw does anyway.
            "socks5" | "socks5h" => Ok(Self::Socks5),
            _ => Err(ProxyError::Scheme),
        }
    }
}

impl Scheme {
    /// Whether it can carry this login: to an HTTP proxy both travel as `user:password`, and
    /// SOCKS5 counts each of them in one byte.
    pub fn carries(self, username: &str, password: &str) -> Result<(), ProxyError> {
        let most = usize::from(u8::MAX);
        match self {
            Self::Http | Self::Https if username.contains(':') => Err(ProxyError::Colon),
            Self::Socks5 if username.len() > most => Err(ProxyError::LongUsername),
            Self::Socks5 if password.len() > most => Err(ProxyError::LongPassword),
            Self::Http | Self::Https | Self::Socks5 => Ok(()),
        }
    }
}

/// No proxy's login is longer.
const LONGEST_LOGIN: usize = 1024;

impl Credentials {
    /// What any scheme could send; [`Scheme::carries`] says the rest.
    pub fn new(username: &str, password: &str) -> Result<Self, ProxyError> {
        let printable = |text: &str| text.len() <= LONGEST_LOGIN && !text.chars().any(char::is_control);
        if username.is_empty() || !printable(username) {
            return Err(ProxyError::Username);
        }
        if !printable(password) {
            return Err(ProxyError::Password);
        }
        Ok(Self { username: username.to_owned(), password: Secret::new(password) })
    }
}

/// A proxy's address as somebody wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyAddress {
    pub scheme: Scheme,
    pub host: Host,
    pub port: u16,
    pub credentials: Option<Credentials>,
}

impl ProxyAddress {
    /// Reads `scheme://user:pass@host:port`, `user:pass@host:port`, `host:port:user:pass` or
    /// `host:port`; without a scheme it is `default_scheme`. A password may hold `:` and `@`,
    /// written plainly or, in a URL, as `%3A` and `%40`. What can be read in two ways is refused: a
    /// login must not be sent to the wrong host.
    pub fn parse(text: &str, default_scheme: Scheme) -> Result<Self, ProxyError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(ProxyError::Empty);
        }
        let (scheme, rest, is_url) = match text.split_once("://") {
            Some((scheme, rest)) => (scheme.parse()?, rest.strip_suffix('/').unwrap_or(rest), true),
            None => (default_scheme, text, false),
        };
        let behind_host_and_port = || split_host_port(rest).ok().and_then(|(_host, _port, behind)| behind);
        let (userinfo, hostport) = match rest.rsplit_once('@') {
            Some((_info, hostport))
                if !is_url && split_host_port(hostport).is_ok() && behind_host_and_port().is_some() =>
            {
                return Err(ProxyError::Ambiguous);
            }
            // `host:port:user:p@ss`: what stands behind the last @ is no host:port.
            Some((info, hostport)) if is_url || split_host_port(hostport).is_ok() => (Some(info), hostport),
            Some(_) | None => (None, rest),
        };
        let (host, port, behind) = split_host_port(hostport)?;
        let credentials = match (userinfo, behind) {
            (Some(info), None) => {
                let (user, pass) = info.split_once(':').unwrap_or((info, ""));
                let decode = |part: &str| if is_url { percent_decode(part) } else { Ok(part.to_owned()) };
                Some(Credentials::new(&decode(user)?, &decode(pass)?)?)
            }
            (None, Some(behind)) if !is_url => {
                let (user, pass) = behind.split_once(':').unwrap_or((behind, ""));
                Some(Credentials::new(user, pass)?)
            }
            (None, None) => None,
            (_, Some(_)) => return Err(ProxyError::Trailing),
        };
        if let Some(Credentials { username, password }) = &credentials {
            scheme.carries(username, password.expose())?;
        }
        Ok(Self { scheme, host, port, credentials })
    }
}

/// As much of a host as a name holds beside its port and a number.
const LONGEST_HOST_NAMED: usize = 84;

impl ProxyAddress {
    /// What a proxy is called by whom nobody has called anything. A host may be longer than a name.
    pub fn host_and_port(&self) -> String {
        let host: String = self.host.as_str().chars().take(LONGEST_HOST_NAMED).collect();
        if host.contains(':') { format!("[{host}]:{}", self.port) } else { format!("{host}:{}", self.port) }
    }
}

/// `host:port` or `[v6]:port`, and what follows behind a further colon.
fn split_host_port(text: &str) -> Result<(Host, u16, Option<&str>), ProxyError> {
    let host_end = match text.strip_prefix('[') {
        Some(rest) => rest.find(']').map(|at| at + 2).ok_or(ProxyError::Host)?,
        None => text.find(':').unwrap_or(text.len()),
    };
    let (host, rest) = text.split_at_checked(host_end).ok_or(ProxyError::Host)?;
    let host = host.parse()?;
    let rest = rest.strip_prefix(':').ok_or(ProxyError::NoPort)?;
    let (port, behind) = match rest.split_once(':') {
        Some((port, behind)) => (port, Some(behind)),
        None => (rest, None),
    };
    // Not `+80`, which is a number as well.
    match port.parse::<u16>() {
        Ok(number) if number > 0 && !port.starts_with('+') => Ok((host, number, behind)),
        Ok(_) | Err(_) => Err(ProxyError::Port),
    }
}

fn percent_decode(text: &str) -> Result<String, ProxyError> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit =
                || bytes.next().and_then(|b| char::from(b).to_digit(16)).ok_or(ProxyError::Percent);
            let value = digit()? * 16 + digit()?;
            out.push(u8::try_from(value).unwrap_or(u8::MAX));
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).map_err(|_not_utf8| ProxyError::Percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scheme, host, port, and the user name with its password.
    type Parts = (String, String, u16, Option<(String, String)>);

    fn read(text: &str) -> Result<Parts, ProxyError> {
        ProxyAddress::parse(text, Scheme::Http).map(|a| {
            let creds = a.credentials.map(|c| (c.username, c.password.expose().to_owned()));
            (a.scheme.to_string(), a.host.to_string(), a.port, creds)
        })
    }

    #[test]
    fn every_written_form_of_a_proxy_is_read() {
        let with = |scheme: &str, host: &str, port, user: &str, pass: &str| {
            Ok((scheme.into(), host.into(), port, Some((user.into(), pass.into()))))
        };
        for (text, want) in [
            ("proxy.example:3128", Ok(("http".into(), "proxy.example".into(), 3128, None))),
            ("10.1.2.3:1080:bob:p:a@ss", with("http", "10.1.2.3", 1080, "bob", "p:a@ss")),
            ("bob:p:a@ss@10.1.2.3:1080", with("http", "10.1.2.3", 1080, "bob", "p:a@ss")),
            ("socks5://bob:p%3Aa%40ss@10.1.2.3:1080", with("socks5", "10.1.2.3", 1080, "bob", "p:a@ss")),
            ("socks5h://bob:p:a@ss@10.1.2.3:1080/", with("socks5", "10.1.2.3", 1080, "bob", "p:a@ss")),
            ("https://bob@[2001:db8::1]:443", with("https", "2001:db8::1", 443, "bob", "")),
            ("socks5://bob%3Ax:p@10.1.2.3:1080", with("socks5", "10.1.2.3", 1080, "bob:x", "p")),
            ("[2001:db8::1]:443:bob:x", with("http", "2001:db8::1", 443, "bob", "x")),
            ("HTTP://Proxy.Example:80", Ok(("http".into(), "proxy.example".into(), 80, None))),
        ] {
            assert_eq!(read(text), want, "{text:?}");
        }
    }

    #[test]
    fn a_proxy_that_cannot_be_dialled_is_refused_with_its_reason() {
        for (text, want) in [
            ("", ProxyError::Empty),
            ("ftp://h:1", ProxyError::Scheme),
            ("socks4://h:1", ProxyError::Scheme),
            ("http://host", ProxyError::NoPort),
            ("host:0", ProxyError::Port),
            ("host:65536", ProxyError::Port),
            ("host:http", ProxyError::Port),
            ("http://host:80/path", ProxyError::Port),
            ("http://host:80:more", ProxyError::Trailing),
            ("http://:80", ProxyError::Empty),
            ("http://a b:80", ProxyError::Host),
            ("http://1.2.3:80", ProxyError::Host),
            ("http://1.2.3.256:80", ProxyError::Host),
            ("http://0x7f000001:80", ProxyError::Host),
            ("http://[::1:80", ProxyError::Host),
            ("http://[host]:80", ProxyError::Host),
            ("http://u:%4@h:80", ProxyError::Percent),
            ("http://u:%zz@h:80", ProxyError::Percent),
            ("http://h:+80", ProxyError::Port),
            ("http://u%3Ax:p@h:80", ProxyError::Colon),
            ("h12.example:3128:u:p@y:99", ProxyError::Ambiguous),
            ("http://:p@h:80", ProxyError::Username),
            ("http://u:a%0d%0ab@h:80", ProxyError::Password),
        ] {
            assert_eq!(read(text), Err(want), "{text:?}");
        }
    }

    #[test]
    fn a_login_is_refused_only_by_the_scheme_that_cannot_carry_it() {
        let long = "x".repeat(256);
        for (scheme, username, password, want) in [
            (Scheme::Socks5, "u:x", "p", Ok(())),
            (Scheme::Https, "u:x", "p", Err(ProxyError::Colon)),
            (Scheme::Http, &long, &long, Ok(())),
            (Scheme::Socks5, &long, "p", Err(ProxyError::LongUsername)),
            (Scheme::Socks5, "u", &long, Err(ProxyError::LongPassword)),
        ] {
            assert_eq!(scheme.carries(username, password), want, "{scheme}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC*") {
            let _outcome = ProxyAddress::parse(&text, Scheme::Socks5);
        }

        #[test]
        fn a_url_written_with_percents_is_read_back(user in "[a-z]{1,8}", pass in "[ -~]{0,20}") {
            let encoded: String = pass.bytes().map(|b| format!("%{b:02x}")).collect();
            let read = ProxyAddress::parse(&format!("socks5://{user}:{encoded}@h:1"), Scheme::Http).unwrap();
            proptest::prop_assert_eq!(read.credentials, Some(Credentials::new(&user, &pass).unwrap()));
        }
    }
}
