//! The head of an HTTP/1 request.

use super::{Missing, checked};

const MAX_FIELDS: usize = 100;

pub(super) fn host(arrived: &[u8]) -> Result<String, Missing> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(arrived);
    if request.path.is_some_and(is_for_a_proxy) {
        return Err(Missing::Name);
    }
    match parsed {
        Ok(httparse::Status::Partial) => return Err(Missing::Bytes),
        Ok(httparse::Status::Complete(_)) => {}
        // Also HTTP/2 with prior knowledge, whose first line has another version.
        Err(_) => return Err(Missing::Name),
    }
    let mut hosts = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("host"));
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => checked(without_port(host.value)),
        // Two hosts are a riddle, and whoever answers it otherwise is tricked.
        (None | Some(_), _) => Err(Missing::Name),
    }
}

/// `GET http://…` and `CONNECT host:port` are said to a proxy, which the client reached by its
/// address. The Host is another server's, and to send it there would show it what was meant for
/// the proxy, a password for instance.
fn is_for_a_proxy(target: &str) -> bool {
    !target.starts_with('/') && target != "*"
}

fn without_port(host: &[u8]) -> &[u8] {
    match host.iter().rposition(|byte| *byte == b':').and_then(|at| host.split_at_checked(at)) {
        Some((name, port)) if port.iter().skip(1).all(u8::is_ascii_digit) => name,
        Some(_) | None => host,
    }
}
