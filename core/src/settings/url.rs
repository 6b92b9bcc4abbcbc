//! Addresses of HTTP services.

/// `http://host[:port][/path]` or `https://…`, enough for a probe and for the programs' own
/// addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl {
    pub tls: bool,
    pub host: crate::proxy::Host,
    pub port: u16,
    /// With its query; `/` when there is none.
    pub path: String,
}

impl HttpUrl {
    pub fn parse(text: &str) -> Option<Self> {
        let (tls, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => return None,
        };
        let (authority, path) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at_checked(at)?,
            None => (rest, "/"),
        };
        let path = if path.starts_with('?') { format!("/{path}") } else { path.to_owned() };
        let printable = path.bytes().all(|b| b.is_ascii_graphic());
        let default_port = if tls { 443 } else { 80 };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok().filter(|p| *p > 0)?),
            Some(_) | None => (authority, default_port),
        };
        let host = host.parse().ok()?;
        printable.then_some(Self { tls, host, port, path })
    }
}
