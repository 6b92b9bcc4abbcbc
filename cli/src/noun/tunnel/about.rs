//! What a tunnel may be told to be.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::error::Error;
use crate::noun::{Fields, NONE, bound, only, word};
use crate::secret;

#[derive(Args)]
pub(crate) struct About {
    /// What is offered, as the client sees it: host:port, or a port of its own
    #[arg(long, value_name = "TARGET")]
    to: Option<String>,
    /// The public port; without it, the next free one
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Of http: the host for which it answers
    #[arg(long)]
    host: Option<String>,
    /// Of http: the path below which it answers, or none
    #[arg(long, value_parser = word)]
    path: Option<Value>,
    /// Of http: the header that a request must have, or none
    #[arg(long, value_name = "NAME=VALUE", value_parser = header)]
    header: Option<Value>,
    /// Bytes per second at most, or none
    #[arg(long, value_name = "BYTES", value_parser = bound)]
    bandwidth: Option<Value>,
    /// Connections at most, or none
    #[arg(long, value_name = "COUNT", value_parser = bound)]
    max_connections: Option<Value>,
    /// Connections of one visitor at most, or none
    #[arg(long, value_name = "COUNT", value_parser = bound)]
    max_per_visitor: Option<Value>,
    /// Of http: requests of one visitor a minute at most, or none
    #[arg(long, value_name = "COUNT", value_parser = bound)]
    requests_per_minute: Option<Value>,
    /// Only visitors from there, such as 203.0.113.0/24, or all; may be said several times
    #[arg(long = "visitor", value_name = "CIDR")]
    visitors: Vec<String>,
    /// Of http: visitors log in under this name; the password is asked for, or read from standard input
    #[arg(long, value_name = "NAME")]
    login: Option<String>,
    /// Visitors do not log in
    #[arg(long, conflicts_with = "login")]
    no_login: bool,
    /// Reads that password from this file's first line
    #[arg(long, value_name = "FILE", requires = "login")]
    login_password_file: Option<PathBuf>,
    /// Whether what is carried is compressed
    #[arg(long, value_name = "true|false")]
    compression: Option<bool>,
    /// Whether the target is told the visitor's address (PROXY protocol)
    #[arg(long, value_name = "true|false")]
    proxy_protocol: Option<bool>,
    /// Of udp: a visitor is forgotten after so many seconds of silence
    #[arg(long, value_name = "SECONDS")]
    udp_idle: Option<u32>,
}

impl About {
    pub(super) fn fields(self, desk: &mut Desk) -> Result<Fields, Error> {
        let login = self.login.map(|name| {
            let password = secret::ask(desk, "password", self.login_password_file.as_deref())?;
            Ok::<_, Error>(json!([{"username": name, "password": password.expose()}]))
        });
        let to = self.to.as_deref().map(target).transpose()?;
        let mut fields = Fields::default();
        fields
            .set("local_host", to.as_ref().map(|(host, _)| host.clone()))
            .set("local_port", to.map(|(_, port)| port))
            .set("public_port", self.port)
            .set("host", self.host)
            .set("path", self.path)
            .set("header", self.header)
            .set("bandwidth", self.bandwidth)
            .set("max_connections", self.max_connections)
            .set("max_per_visitor", self.max_per_visitor)
            .set("requests_per_minute", self.requests_per_minute)
            .set("visitor_allow", only(self.visitors, Value::from))
            .set("basic_auth", self.no_login.then(|| json!([])))
            .set("basic_auth", login.transpose()?)
            .set("compression", self.compression)
            .set("proxy_protocol", self.proxy_protocol)
            .set("udp_idle_s", self.udp_idle);
        Ok(fields)
    }
}

fn header(text: &str) -> Result<Value, String> {
    if text == NONE {
        return Ok(Value::Null);
    }
    let (name, value) = text.split_once('=').ok_or("a header is written NAME=VALUE, or none")?;
    Ok(json!({"name": name, "value": value}))
}

/// `host:port`, or a port of the client's own machine.
fn target(text: &str) -> Result<(String, u16), Error> {
    let (host, port) = text.rsplit_once(':').unwrap_or(("127.0.0.1", text));
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match port.parse::<u16>() {
        Ok(port) if port > 0 && !host.is_empty() => Ok((host.to_owned(), port)),
        _ => Err(Error::Usage(format!("{text:?} is no target such as 127.0.0.1:3000 or 3000"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_port_here_or_a_host_with_one() {
        for (text, want) in [
            ("3000", Some(("127.0.0.1", 3000))),
            ("nas.lan:80", Some(("nas.lan", 80))),
            ("[::1]:80", Some(("::1", 80))),
            ("nas.lan", None),
            (":80", None),
            ("nas:0", None),
            ("nas:70000", None),
        ] {
            let want = want.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(target(text).ok(), want, "{text}");
        }
    }
}
