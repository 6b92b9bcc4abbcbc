//! Which tunnel a request belongs to: the host first, then the longest path, then a header.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::HeaderMap;
use pgw_core::ids::TunnelId;

use crate::gateway::tunnel::Tunnel;

#[derive(Debug, Default)]
pub(in crate::gateway) struct Routes {
    /// By host, in lower case; of each, the most exact first.
    hosts: BTreeMap<String, Vec<Way>>,
}

#[derive(Debug)]
struct Way {
    id: TunnelId,
    path: String,
    /// As it is read where upper and lower case are the same.
    folded: String,
    header: Option<(String, String)>,
}

#[derive(Debug, PartialEq, Eq)]
pub(in crate::gateway) enum Found {
    Tunnel(TunnelId),
    Nothing,
}

impl Routes {
    pub(in crate::gateway) fn of<'a>(
        tunnels: impl Iterator<Item = &'a Arc<Tunnel>>,
        domain: Option<&str>,
    ) -> Self {
        let mut routes = Self::default();
        for tunnel in tunnels {
            if let Some(route) = &tunnel.spec.route {
                routes.add(tunnel.spec.id, &route.host, route.path.as_deref(), route.header.clone(), domain);
            }
        }
        routes
    }

    fn add(
        &mut self,
        id: TunnelId,
        host: &str,
        path: Option<&str>,
        header: Option<(String, String)>,
        domain: Option<&str>,
    ) {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let host = match domain {
            Some(domain) if !host.contains('.') => format!("{host}.{domain}"),
            _ => host,
        };
        let ways = self.hosts.entry(host).or_default();
        let path = plain(path.unwrap_or("/"));
        ways.push(Way { id, folded: path.to_lowercase(), path, header });
        // The same twice: the older one is first, whose id is the smaller.
        ways.sort_by_key(|way| (std::cmp::Reverse(way.folded.len()), way.header.is_none(), way.id));
    }

    /// Does a tunnel have this host?
    pub(super) fn knows(&self, host: &str) -> bool {
        self.hosts.contains_key(host)
    }

    /// Case does not lead out of a tunnel: its target may not tell `/Admin` from `/admin`. Where both
    /// are tunnels, it tells them apart.
    pub(super) fn find(&self, host: &str, path: &str, headers: &HeaderMap) -> Found {
        let ways = self.hosts.get(host).map(Vec::as_slice).unwrap_or_default();
        let path = plain(path);
        let folded = path.to_lowercase();
        let fits = |way: &&Way| {
            is_below(&folded, &way.folded)
                && way.header.as_ref().is_none_or(|(name, value)| {
                    headers.get_all(name.as_str()).iter().any(|said| said.as_bytes() == value.as_bytes())
                })
        };
        let Some(first) = ways.iter().find(fits) else { return Found::Nothing };
        let alike = ways.iter().filter(fits).filter(|way| way.folded == first.folded);
        let exact = alike.into_iter().find(|way| is_below(&path, &way.path));
        Found::Tunnel(exact.unwrap_or(first).id)
    }
}

/// As a target may read it: escapes resolved, and without empty segments, dots and parameters. Otherwise
/// somebody could write the path of one tunnel so that it is taken for another's, which asks for less.
fn plain(path: &str) -> String {
    let resolved = resolved(path);
    let mut segments = Vec::new();
    for segment in resolved.split(['/', '\\']) {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name),
        }
    }
    format!("/{}", segments.join("/"))
}

fn resolved(path: &str) -> String {
    let mut pieces = path.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let escaped = piece.split_at_checked(2).filter(|(digits, _)| !digits.starts_with('+'));
        match escaped.and_then(|(digits, rest)| Some((u8::from_str_radix(digits, 16).ok()?, rest))) {
            Some((byte, rest)) => {
                bytes.push(byte);
                bytes.extend(rest.bytes());
            }
            None => {
                bytes.push(b'%');
                bytes.extend(piece.bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `/api` is above `/api` and `/api/x`, and not above `/apix`.
fn is_below(path: &str, above: &str) -> bool {
    let above = above.trim_end_matches('/');
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn host_then_longest_path_then_header() {
        let mut routes = Routes::default();
        let domain = Some("tunnels.example.com");
        let id = |n| TunnelId(Uuid::from_u128(n));
        let beta = Some(("x-stage".to_owned(), "beta".to_owned()));
        routes.add(id(1), "demo", None, None, domain);
        routes.add(id(2), "demo", Some("/api"), None, domain);
        routes.add(id(3), "Demo", Some("/api"), beta.clone(), domain);
        routes.add(id(4), "demo", Some("/api/v2/"), None, domain);
        routes.add(id(5), "shop.example.org", Some("/"), beta, domain);
        routes.add(id(6), "demo", Some("/API/V3"), None, domain);
        routes.add(id(7), "demo", Some("/api/v3"), None, domain);
        let headers =
            HeaderMap::from_iter([(HeaderName::from_static("x-stage"), HeaderValue::from_static("beta"))]);
        for (host, path, with, want) in [
            ("demo.tunnels.example.com", "/", false, Some(1)),
            ("demo.tunnels.example.com", "/apix", false, Some(1)),
            ("demo.tunnels.example.com", "/api", false, Some(2)),
            ("demo.tunnels.example.com", "/api/x", true, Some(3)),
            ("demo.tunnels.example.com", "/api/v2", true, Some(4)),
            ("demo.tunnels.example.com", "/api/v2/x", false, Some(4)),
            ("demo.tunnels.example.com", "/x/../api", false, Some(2)),
            ("demo.tunnels.example.com", "/x/%2e%2E%2fapi", false, Some(2)),
            ("demo.tunnels.example.com", "//%61pi;v=1//x", false, Some(2)),
            ("demo.tunnels.example.com", "/..\\api\\", false, Some(2)),
            ("demo.tunnels.example.com", "/api/../x%", false, Some(1)),
            ("demo.tunnels.example.com", "/%+1api%4", false, Some(1)),
            ("demo.tunnels.example.com", "/API/x", false, Some(2)),
            ("demo.tunnels.example.com", "/%41PI/x", true, Some(3)),
            ("demo.tunnels.example.com", "/api/v3", false, Some(7)),
            ("demo.tunnels.example.com", "/API/V3/x", false, Some(6)),
            ("demo.tunnels.example.com", "/Api/V3", false, Some(6)),
            ("shop.example.org", "/", true, Some(5)),
            ("shop.example.org", "/", false, None),
            ("demo", "/", false, None),
            ("other.tunnels.example.com", "/", false, None),
        ] {
            let none = HeaderMap::new();
            let found = routes.find(host, path, if with { &headers } else { &none });
            assert_eq!(found, want.map_or(Found::Nothing, |n| Found::Tunnel(id(n))), "{host}{path} {with}");
        }
    }
}
