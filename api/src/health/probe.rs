//! One check: through the proxy to the probe URL, and an HTTP answer read back. It dials as the
//! forwarder does, so what it finds is what a device would.

use std::io;
use std::net::{IpAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pgw_core::country::Country;
use pgw_core::dial::{Destination, DialError, Dialer};
use pgw_core::health::CheckFailure;
use pgw_core::proxy::Upstream;
use pgw_core::resources::is_exhausted;
use pgw_core::settings::HttpUrl;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use crate::geoip::GeoIp;

/// More than any probe page needs; what is longer is not read.
const ANSWER_BOUND: usize = 16 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    pub latency: Duration,
    /// The address that the probe saw, if it answers with one.
    pub exit_ip: Option<IpAddr>,
    /// Where that address is, if it is known.
    pub country: Option<Country>,
}

/// Why not, as a kind and in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAnswered {
    pub kind: CheckFailure,
    pub detail: String,
}

#[async_trait]
pub trait Probe: Send + Sync + 'static {
    async fn check(&self, upstream: &Upstream) -> Result<Answered, NotAnswered>;
}

pub struct HttpProbe {
    pub dialer: Dialer,
    pub url: HttpUrl,
    pub timeout: Duration,
    pub geoip: Arc<GeoIp>,
}

#[async_trait]
impl Probe for HttpProbe {
    async fn check(&self, upstream: &Upstream) -> Result<Answered, NotAnswered> {
        let start = Instant::now();
        let exit_ip =
            tokio::time::timeout(self.timeout, self.ask(upstream)).await.unwrap_or_else(|_elapsed| {
                Err(NotAnswered {
                    kind: CheckFailure::Timeout,
                    detail: format!("no answer from the probe within {:?}", self.timeout),
                })
            })?;
        let latency = start.elapsed();
        // One address has one spelling.
        let exit_ip = exit_ip.map(|ip| ip.to_canonical());
        Ok(Answered { latency, exit_ip, country: exit_ip.and_then(|ip| self.geoip.country(ip)) })
    }
}

impl HttpProbe {
    async fn ask(&self, upstream: &Upstream) -> Result<Option<IpAddr>, NotAnswered> {
        let destination = match self.url.host.as_str().parse() {
            Ok(IpAddr::V4(ip)) => Destination::Addr(SocketAddrV4::new(ip, self.url.port)),
            Ok(IpAddr::V6(_)) | Err(_) => Destination::Name(self.url.host.clone(), self.url.port),
        };
        let tunnel = self.dialer.dial(upstream, &destination, self.timeout).await?;
        if self.url.tls {
            let stream = self.dialer.tls_over(&self.url.host, tunnel.stream).await?;
            self.exchange(stream, Vec::new()).await
        } else {
            self.exchange(tunnel.stream, tunnel.early).await
        }
    }

    async fn exchange(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        mut answer: Vec<u8>,
    ) -> Result<Option<IpAddr>, NotAnswered> {
        let HttpUrl { host, port, path, .. } = &self.url;
        let bracketed = if host.as_str().contains(':') { format!("[{host}]") } else { host.to_string() };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {bracketed}:{port}\r\nUser-Agent: pgw\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.map_err(|error| broken("asking the probe", &error))?;
        loop {
            if let Some(seen) = judge(&answer, false)? {
                return Ok(seen.exit_ip);
            }
            let mut chunk = [0; 2048];
            let count = stream
                .read(&mut chunk)
                .await
                .map_err(|error| broken("reading the probe's answer", &error))?;
            answer.extend_from_slice(chunk.get(..count).unwrap_or_default());
            if count == 0 || answer.len() >= ANSWER_BOUND {
                let seen = judge(&answer, true)?;
                let cut_off = || bad_answer("the probe's answer broke off".to_owned());
                return seen.map(|seen| seen.exit_ip).ok_or_else(cut_off);
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    exit_ip: Option<IpAddr>,
}

/// Looks at what has arrived so far; none: more is needed. At the `end`, what is there counts.
fn judge(answer: &[u8], end: bool) -> Result<Option<Seen>, NotAnswered> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let head = match response.parse(answer) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(bad_answer(format!("the probe's answer is not HTTP: {error}"))),
    };
    let status = response.code.unwrap_or_default();
    if !(200..400).contains(&status) {
        return Err(bad_answer(format!("the probe answered {status}")));
    }
    let length = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| std::str::from_utf8(header.value).ok()?.trim().parse::<usize>().ok());
    let body = answer.get(head..).unwrap_or_default();
    let complete = status == 204 || status == 304 || length.is_some_and(|length| body.len() >= length);
    if complete || end { Ok(Some(Seen { exit_ip: exit_ip(body) })) } else { Ok(None) }
}

/// A body that is an address, or holds a line `ip=…`, as the usual services answer.
fn exit_ip(body: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(body).ok()?;
    let lines = || text.lines().map(str::trim);
    lines()
        .find_map(|line| line.strip_prefix("ip=").and_then(|ip| ip.parse().ok()))
        .or_else(|| lines().find(|line| !line.is_empty()).and_then(|line| line.parse().ok()))
}

fn bad_answer(detail: String) -> NotAnswered {
    NotAnswered { kind: CheckFailure::BadAnswer, detail }
}

fn broken(doing: &str, error: &io::Error) -> NotAnswered {
    let kind = if is_exhausted(error) { CheckFailure::Gateway } else { CheckFailure::BadAnswer };
    NotAnswered { kind, detail: format!("{doing}: {error}") }
}

impl From<DialError> for NotAnswered {
    fn from(error: DialError) -> Self {
        Self { kind: error.kind, detail: error.detail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_judged_as_soon_as_it_is_whole() {
        let ok = |ip: Option<&str>| Ok(Some(Seen { exit_ip: ip.map(|ip| ip.parse().unwrap()) }));
        for (answer, end, want) in [
            ("HTTP/1.1 204 No Content\r\n\r\n", false, ok(None)),
            ("HTTP/1.1 204 No Content\r\n", false, Ok(None)),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n192.0.2.7", false, ok(Some("192.0.2.7"))),
            ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n192.0.2.7", false, Ok(None)),
            ("HTTP/1.1 200 OK\r\n\r\n192.0.2.7\n", true, ok(Some("192.0.2.7"))),
            ("HTTP/1.1 200 OK\r\n\r\nfl=1\nip=2001:db8::7\n", true, ok(Some("2001:db8::7"))),
            ("HTTP/1.1 200 OK\r\n\r\n<html>", true, ok(None)),
            ("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", true, ok(None)),
        ] {
            assert_eq!(judge(answer.as_bytes(), end), want, "{answer:?}");
        }
    }

    #[test]
    fn an_answer_that_is_no_success_is_told_with_its_status() {
        for (answer, part) in [
            ("HTTP/1.1 502 Bad Gateway\r\n\r\n", "answered 502"),
            ("HTTP/1.1 403 Forbidden\r\n\r\n", "answered 403"),
            ("SSH-2.0-OpenSSH\r\n", "not HTTP"),
        ] {
            let NotAnswered { kind, detail } = judge(answer.as_bytes(), true).unwrap_err();
            assert!(kind == CheckFailure::BadAnswer && detail.contains(part), "{detail}");
        }
    }
}
