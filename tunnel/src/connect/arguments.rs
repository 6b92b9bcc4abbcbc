//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use pgw_core::redact::Secret;
use pgw_core::tunnel::Protocol;

use super::config::{Carrier, Client, Config, ConfigError};
use crate::wire::hello::OpenPort;

pub const USAGE: &str = "usage: pgw-connect [enroll] --config FILE
       pgw-connect [enroll] --server HOST[:PORT] --ca sha256:… --id NAME --token-file FILE
                   [--enroll CODE] [--open [REMOTE_PORT:]PROTOCOL:HOST:PORT]… [--carrier auto|tls|websocket|quic]
                   [--proxy http://HOST:PORT]
A token is read from its file only: what stands on the command line can be read by everybody.";

#[derive(Debug)]
pub struct Call {
    pub config: Config,
    /// Where the token is, or shall be.
    pub token_file: PathBuf,
    /// Makes this client known, and ends.
    pub only_enroll: bool,
}

/// What somebody only wants to know.
pub fn answer(mut arguments: impl Iterator<Item = OsString>) -> Option<&'static str> {
    match arguments.next()?.to_str()? {
        "--help" | "-h" => Some(USAGE),
        "--version" | "-V" => Some(concat!("pgw-connect ", env!("CARGO_PKG_VERSION"))),
        _ => None,
    }
}

pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Call, ConfigError> {
    let wrong = |words: String| ConfigError::Flags(format!("{words}\n{USAGE}"));
    let words: Result<Vec<String>, _> = arguments.map(OsString::into_string).collect();
    let words = words.map_err(|_odd| wrong("an argument is not text".to_owned()))?;
    let mut words = words.into_iter().peekable();
    let only_enroll = words.next_if(|word| word == "enroll").is_some();
    let (mut file, mut token_file, mut config) = (None, None, Flags::default());
    while let Some(word) = words.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word.clone(), words.next()),
        };
        let value = value.ok_or_else(|| wrong(format!("{name} says nothing")))?;
        match name.as_str() {
            "--config" => file = Some(PathBuf::from(value)),
            "--token-file" => token_file = Some(PathBuf::from(value)),
            "--server" => config.server = Some(value),
            "--ca" => config.ca = Some(value),
            "--id" => config.id = Some(value),
            "--enroll" => config.enroll = Some(Secret::new(value)),
            "--carrier" => config.carrier = Some(value),
            "--proxy" => config.proxy = Some(value),
            "--open" => config.open.push(open_port(&value).ok_or_else(|| wrong(format!("--open {value}")))?),
            _ => return Err(wrong(format!("{name} is not known"))),
        }
    }
    let (config, beside) = match file {
        Some(file) => (config.over(Config::read(&file)?).map_err(wrong)?, Some(file.with_extension("token"))),
        None => (config.alone().map_err(wrong)?, None),
    };
    config.check()?;
    let token_file = token_file.or(beside).ok_or_else(|| wrong("--token-file is missing".to_owned()))?;
    Ok(Call { config, token_file, only_enroll })
}

#[derive(Default)]
struct Flags {
    server: Option<String>,
    ca: Option<String>,
    id: Option<String>,
    enroll: Option<Secret>,
    carrier: Option<String>,
    proxy: Option<String>,
    open: Vec<OpenPort>,
}

impl Flags {
    fn alone(mut self) -> Result<Config, String> {
        let missing = |name: &str| format!("{name} is missing");
        let server = self.server.take().ok_or_else(|| missing("--server"))?;
        let ca = self.ca.take().ok_or_else(|| missing("--ca"))?;
        let id = self.id.take().ok_or_else(|| missing("--id"))?;
        let client = Client { id, open_ports: Vec::new(), allow: None, deny: Vec::new() };
        self.over(Config {
            server: server.try_into()?,
            token: None,
            enroll: None,
            ca,
            carrier: Carrier::default(),
            proxy: None,
            client,
        })
    }

    /// What a flag says counts more than what the file says.
    fn over(self, mut config: Config) -> Result<Config, String> {
        if let Some(server) = self.server {
            config.server = server.try_into()?;
        }
        if let Some(proxy) = self.proxy {
            config.proxy = Some(proxy.try_into()?);
        }
        if let Some(carrier) = self.carrier {
            config.carrier = match carrier.as_str() {
                "auto" => Carrier::Auto,
                "tls" => Carrier::Tls,
                "websocket" => Carrier::Websocket,
                "quic" => Carrier::Quic,
                _ => return Err("--carrier is auto, tls, websocket or quic".to_owned()),
            };
        }
        config.ca = self.ca.unwrap_or(config.ca);
        config.client.id = self.id.unwrap_or(config.client.id);
        config.enroll = self.enroll.or(config.enroll);
        config.client.open_ports.extend(self.open);
        Ok(config)
    }
}

/// `tcp:127.0.0.1:8080`, or `9000:tcp:127.0.0.1:8080`.
fn open_port(text: &str) -> Option<OpenPort> {
    let (first, rest) = text.split_once(':')?;
    let (remote_port, protocol, target) = match first.parse::<u16>() {
        Ok(port) => {
            let (protocol, target) = rest.split_once(':')?;
            (port, protocol, target)
        }
        Err(_) => (0, first, rest),
    };
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "both" => Protocol::Both,
        _ => return None,
    };
    let (host, port) = target.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let local_port = port.parse().ok().filter(|port| *port > 0)?;
    let local_host = Some(host.to_owned()).filter(|host| !host.is_empty())?;
    Some(OpenPort {
        remote_port,
        protocol,
        local_host,
        local_port,
        name: None,
        compression: false,
        proxy_protocol: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &str) -> Result<Call, ConfigError> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn flags_alone_are_enough() {
        let call = call("enroll --server gw --ca sha256:x --id pi --token-file t --open tcp:127.0.0.1:80 --open=9000:both:[::1]:53 --enroll once").unwrap();
        assert!(call.only_enroll);
        let ports = &call.config.client.open_ports;
        assert_eq!((ports[0].remote_port, ports[0].local_port), (0, 80));
        assert_eq!((ports[1].remote_port, ports[1].local_host.as_str()), (9000, "::1"));
    }

    #[test]
    fn a_mistake_is_told_with_how_it_is_meant() {
        for line in [
            "",
            "--server gw",
            "--nothing x",
            "--config",
            "--server gw --ca x --id pi",
            "--server gw --ca x --id pi --token-file t --open sctp:a:1",
            "--server gw --ca x --id pi --token-file t --open tcp:a:0",
            "--server gw --ca x --id pi --token-file t --carrier pigeon",
        ] {
            assert!(call(line).unwrap_err().to_string().contains("usage"), "{line}");
        }
    }
}
