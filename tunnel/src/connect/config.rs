//! What the client is told: a YAML file, and flags that say the same.

use std::fmt;
use std::path::{Path, PathBuf};

use pgw_core::proxy::{Credentials, Host};
use pgw_core::redact::Secret;
use pgw_core::tunnel::Filter;
use serde::Deserialize;

use crate::tls::Pin;
use crate::wire::hello::{MOST_PORTS, OpenPort};

/// Where gateways listen if nobody says otherwise.
const PORT: u16 = 8443;
/// A file that is longer is not one of ours.
const LONGEST: u64 = 1024 * 1024;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `gateway.example.com` or `gateway.example.com:8443`.
    pub server: Server,
    /// Shown once, when the client was made. Without it, the file beside this one is read.
    #[serde(default)]
    pub token: Option<Secret>,
    /// A code that makes this client known, once.
    #[serde(default)]
    pub enroll: Option<Secret>,
    /// The gateway's authority: `sha256:…`, or the path of its PEM file.
    pub ca: String,
    #[serde(default)]
    pub carrier: Carrier,
    /// An HTTP proxy that has to be used: `http://user:password@proxy:3128`.
    #[serde(default)]
    pub proxy: Option<HttpProxy>,
    pub client: Client,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    pub id: String,
    #[serde(default)]
    pub open_ports: Vec<OpenPort>,
    /// Without it: this machine and private networks.
    #[serde(default)]
    pub allow: Option<Vec<ipnet::IpNet>>,
    #[serde(default)]
    pub deny: Vec<ipnet::IpNet>,
}

/// What the connection looks like from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Carrier {
    /// TLS, and where that does not get through, a WebSocket, and then QUIC.
    #[default]
    Auto,
    Tls,
    Websocket,
    /// By UDP, where there is no proxy.
    Quic,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Server {
    pub host: Host,
    pub port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HttpProxy {
    pub host: Host,
    pub port: u16,
    pub credentials: Option<Credentials>,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {error}", path = .0.display(), error = .1)]
    Read(PathBuf, #[source] std::io::Error),
    #[error("{path} cannot be used: {words}", path = .0.display(), words = .1)]
    Yaml(PathBuf, String),
    #[error("`ca` cannot be used: {0}")]
    Ca(String),
    #[error("client.open_ports has {0} entries, and at most {MOST_PORTS} are possible")]
    TooMany(usize),
    #[error("client.open_ports: {0}: local_port is 0, which nobody listens at")]
    NoPort(String),
    #[error("client.open_ports: local_host {0:?}, or the name beside it, cannot be used")]
    Unfit(String),
    #[error("{0}")]
    Flags(String),
}

impl Config {
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let told = |error| ConfigError::Read(path.to_owned(), error);
        let length = std::fs::metadata(path).map_err(told)?.len();
        if length > LONGEST {
            let words = format!("it has {length} bytes, and {LONGEST} are possible");
            return Err(ConfigError::Yaml(path.to_owned(), words));
        }
        let text = std::fs::read_to_string(path).map_err(told)?;
        Self::parse(&text).map_err(|words| ConfigError::Yaml(path.to_owned(), words))
    }

    fn parse(text: &str) -> Result<Self, String> {
        // Without the lines around the mistake: a token may stand in them.
        let options = serde_saphyr::options! { with_snippet: false };
        serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())
    }

    pub fn check(&self) -> Result<(), ConfigError> {
        let ports = &self.client.open_ports;
        if ports.len() > MOST_PORTS {
            return Err(ConfigError::TooMany(ports.len()));
        }
        if let Some(port) = ports.iter().find(|port| !port.is_fit()) {
            return Err(ConfigError::Unfit(port.local_host.clone()));
        }
        match ports.iter().find(|port| port.local_port == 0) {
            Some(port) => Err(ConfigError::NoPort(port.local_host.clone())),
            None => Ok(()),
        }
    }

    pub fn pin(&self) -> Result<Pin, ConfigError> {
        let told = |error: &dyn fmt::Display| ConfigError::Ca(error.to_string());
        match self.ca.parse() {
            Ok(pin) => Ok(pin),
            Err(error) if self.ca.starts_with("sha256:") => Err(told(&error)),
            Err(_is_a_path) => {
                let pem = std::fs::read(&self.ca)
                    .map_err(|error| ConfigError::Ca(format!("{}: {error}", self.ca)))?;
                Pin::of_pem(&pem).map_err(|error| told(&error))
            }
        }
    }

    pub fn filter(&self) -> Filter {
        Filter { allow: self.client.allow.clone(), deny: self.client.deny.clone() }
    }
}

impl TryFrom<String> for Server {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (host, port) = split(&text, Some(PORT)).ok_or_else(|| format!("{text:?} is not host:port"))?;
        Ok(Self { host, port })
    }
}

impl TryFrom<String> for HttpProxy {
    type Error = String;

    /// Without the text: a password may be in it.
    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || "a proxy is written http://host:port or http://user:password@host:port".to_owned();
        let rest = text.strip_prefix("http://").ok_or_else(wrong)?.trim_end_matches('/');
        let (login, address) = match rest.rsplit_once('@') {
            Some((login, address)) => (Some(login), address),
            None => (None, rest),
        };
        let (host, port) = split(address, None).ok_or_else(wrong)?;
        let credentials = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
            None => None,
            Some((user, password)) => {
                Some(Credentials::new(user, password).map_err(|error| format!("its login {error}"))?)
            }
        };
        Ok(Self { host, port, credentials })
    }
}

fn split(text: &str, usual: Option<u16>) -> Option<(Host, u16)> {
    if let (Ok(host), Some(port)) = (text.parse(), usual) {
        return Some((host, port));
    }
    let (host, port) = text.rsplit_once(':')?;
    Some((host.parse().ok()?, port.parse().ok().filter(|port| *port > 0)?))
}

#[cfg(test)]
mod tests {
    use pgw_core::tunnel::Protocol;

    use super::*;

    const WHOLE: &str = r#"
server: gateway.example.com:9443
token: "0000"
ca: sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
proxy: http://bob:s3cret@proxy.example.com:3128
client:
  id: office-pc
  open_ports:
    - { remote_port: 9000, protocol: tcp,  local_host: 10.0.0.1, local_port: 9000 }
    - { remote_port: 0,    protocol: both, local_host: 127.0.0.1, local_port: 5060 }
  allow: ["127.0.0.1/32", "10.0.0.0/24"]
  deny:  ["169.254.0.0/16"]
"#;

    #[test]
    fn the_example_that_is_installed_is_a_configuration() {
        Config::parse(include_str!("../../../packaging/connect.example.yaml")).unwrap().check().unwrap();
    }

    #[test]
    fn a_whole_file_is_read() {
        let config = Config::parse(WHOLE).unwrap();
        config.check().unwrap();
        assert_eq!((config.server.host.as_str(), config.server.port), ("gateway.example.com", 9443));
        assert_eq!(config.client.open_ports[1].protocol, Protocol::Both);
        assert_eq!(config.filter().allow.unwrap().len(), 2);
        assert!(config.pin().is_ok());
        let printed = format!("{config:?}");
        assert!(!printed.contains("s3cret") && !printed.contains("0000"), "{printed}");
    }

    #[test]
    fn little_is_needed() {
        let config = Config::parse("{server: gw, enroll: once, ca: /x.pem, client: {id: pi}}").unwrap();
        assert_eq!((config.server.port, config.carrier), (8443, Carrier::Auto));
        assert!(config.pin().unwrap_err().to_string().contains("/x.pem"));
    }

    #[test]
    fn a_mistake_is_named() {
        for (change, with, want) in [
            ("token:", "tokn:", "tokn"),
            ("protocol: tcp", "protocol: sctp", "sctp"),
            ("local_port: 9000", "local_prot: 9000", "local_prot"),
            ("10.0.0.0/24", "10.0.0.0/99", "10.0.0.0/99"),
            ("gateway.example.com:9443", "https://x", "host:port"),
            ("http://bob", "socks5://bob", "http://host:port"),
        ] {
            let said = Config::parse(&WHOLE.replace(change, with)).unwrap_err();
            assert!(said.contains(want) || want.starts_with("10."), "{want}: {said}");
            assert!(!said.contains("s3cret") && !said.contains("0000"), "{said}");
        }
        let zero = Config::parse(&WHOLE.replace("local_port: 9000", "local_port: 0")).unwrap();
        assert!(zero.check().unwrap_err().to_string().contains("local_port is 0"));
    }
}
