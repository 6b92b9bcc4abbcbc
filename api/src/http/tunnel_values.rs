//! What a value of a tunnel, or of a tunnel client, must look like.

use std::net::IpAddr;

use ipnet::IpNet;
use pgw_core::proxy::is_dns_name;
use pgw_core::tunnel::{NotAPortSpan, PortSpan};
use serde_json::{Map, Value};

use super::fields::Read;
use super::values::{password, text, username};
use crate::store::{Header, NewLogin};

pub(super) const MOST_SPANS: usize = 64;
pub(super) const MOST_NETS: usize = 64;
pub(super) const MOST_LOGINS: usize = 32;
const LONGEST_PATH: usize = 500;
const LONGEST_HEADER_NAME: usize = 100;
const LONGEST_HEADER_VALUE: usize = 255;
/// Bytes per second: a thousand times what a link carries.
const MOST_BANDWIDTH: u64 = 1_000_000_000_000;

pub(super) fn number(value: &Value, least: u32, most: u32) -> Read<u32> {
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    let number = number.filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("must be a whole number from {least} to {most}"))
}

pub(super) fn count(value: &Value) -> Read<u32> {
    number(value, 1, 1_000_000)
}

pub(super) fn max_tunnels(value: &Value) -> Read<u32> {
    number(value, 0, 1000)
}

pub(super) fn udp_idle_s(value: &Value) -> Read<u32> {
    number(value, 1, 86_400)
}

/// 0 leaves the choice to the gateway.
pub(super) fn public_port(value: &Value) -> Read<u16> {
    let port = number(value, 0, u16::MAX.into())?;
    u16::try_from(port).map_err(|error| error.to_string())
}

pub(super) fn bandwidth(value: &Value) -> Read<u64> {
    let rate = value.as_u64().filter(|rate| (1..=MOST_BANDWIDTH).contains(rate));
    rate.ok_or_else(|| format!("must be bytes per second, a whole number from 1 to {MOST_BANDWIDTH}"))
}

fn list(value: &Value, most: usize) -> Read<&Vec<Value>> {
    match value.as_array() {
        None => Err("must be a list".to_owned()),
        Some(list) if list.len() > most => Err(format!("has more than {most} entries")),
        Some(list) => Ok(list),
    }
}

pub(super) fn spans(value: &Value) -> Read<Vec<PortSpan>> {
    let span = |value: &Value| match value {
        Value::Number(number) => number.to_string().parse(),
        Value::String(text) => text.parse(),
        _ => Err(NotAPortSpan),
    };
    let spans: Result<Vec<PortSpan>, NotAPortSpan> = list(value, MOST_SPANS)?.iter().map(span).collect();
    spans.map_err(|error| format!("has an entry that {error}"))
}

pub(super) fn nets(value: &Value) -> Read<Vec<IpNet>> {
    let net = |value: &Value| {
        let text = value.as_str()?;
        let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
        text.parse::<IpNet>().ok().or_else(address).map(|net| net.trunc())
    };
    let nets: Option<Vec<IpNet>> = list(value, MOST_NETS)?.iter().map(net).collect();
    nets.ok_or_else(|| "has an entry that is not an address or a network, such as 203.0.113.0/24".to_owned())
}

pub(super) fn logins(value: &Value) -> Read<Vec<NewLogin>> {
    let mut logins: Vec<NewLogin> = Vec::new();
    for value in list(value, MOST_LOGINS)? {
        let login = login(value)?;
        if logins.iter().any(|other| other.username == login.username) {
            return Err(format!("names {} twice", login.username));
        }
        logins.push(login);
    }
    Ok(logins)
}

fn login(value: &Value) -> Read<NewLogin> {
    let object = object(value, &["username", "password"])?;
    let name = object.get("username").ok_or_else(|| "has an entry without username".to_owned())?;
    let told = |what: &str, detail: String| format!("has an entry whose {what} {detail}");
    Ok(NewLogin {
        username: username(name).map_err(|detail| told("username", detail))?,
        password: object
            .get("password")
            .map(password)
            .transpose()
            .map_err(|detail| told("password", detail))?,
    })
}

fn object<'a>(value: &'a Value, known: &[&str]) -> Read<&'a Map<String, Value>> {
    let object = value.as_object().filter(|object| object.keys().all(|key| known.contains(&key.as_str())));
    object.ok_or_else(|| format!("must be of objects with {}", known.join(" and ")))
}

pub(super) fn header(value: &Value) -> Read<Header> {
    let object = object(value, &["name", "value"])?;
    let field = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
    let (name, value) = (field("name"), field("value"));
    let is_token = |letter: u8| letter.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&letter);
    if !(1..=LONGEST_HEADER_NAME).contains(&name.len()) || !name.bytes().all(is_token) {
        return Err("needs the name of a header".to_owned());
    }
    if !(1..=LONGEST_HEADER_VALUE).contains(&value.len())
        || !value.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
    {
        return Err(format!("needs a value of 1 to {LONGEST_HEADER_VALUE} ASCII characters"));
    }
    Ok(Header { name: name.to_ascii_lowercase(), value: value.to_owned() })
}

pub(super) fn http_host(value: &Value) -> Read<String> {
    let host = text(value)?.to_ascii_lowercase();
    if is_dns_name(&host) { Ok(host) } else { Err("must be a name, or a label of one".to_owned()) }
}

pub(super) fn path(value: &Value) -> Read<String> {
    let path = text(value)?;
    let fits = path.starts_with('/')
        && path.len() <= LONGEST_PATH
        && path.bytes().all(|b| b.is_ascii_graphic() && !b"?#".contains(&b));
    if fits { Ok(path.to_owned()) } else { Err("must be a path, such as /api".to_owned()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ports_networks_and_logins_are_read_whole_or_refused() {
        let read = spans(&json!([12000, "12010-12020"])).unwrap();
        assert_eq!(read.iter().map(ToString::to_string).collect::<Vec<_>>(), ["12000", "12010-12020"]);
        for wrong in [json!([0]), json!(["9-8"]), json!([1.5]), json!([null]), json!("12000"), json!([70000])]
        {
            assert!(spans(&wrong).is_err(), "{wrong}");
        }
        let read = nets(&json!(["203.0.113.7/24", "2001:db8::1"])).unwrap();
        assert_eq!(
            read.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["203.0.113.0/24", "2001:db8::1/128"]
        );
        assert!(nets(&json!(["x"])).is_err() && nets(&json!([7])).is_err());
        assert_eq!(logins(&json!([{"username": "bob", "password": "s3cret"}])).unwrap().len(), 1);
        for wrong in [
            json!([{"username": "bob"}, {"username": "bob"}]),
            json!([{"password": "x"}]),
            json!([{"username": "a:b"}]),
            json!([{"username": "bob", "passwort": "x"}]),
            json!(["bob"]),
        ] {
            assert!(logins(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_route_is_a_name_a_path_and_a_header() {
        assert_eq!(http_host(&json!("Shop")), Ok("shop".to_owned()));
        assert!(http_host(&json!("a b")).is_err());
        assert!(path(&json!("/api/v1")).is_ok());
        for wrong in ["", "api", "/a?b", "/a b", "/\u{e4}"] {
            assert!(path(&json!(wrong)).is_err(), "{wrong}");
        }
        let read = header(&json!({"name": "X-Tenant", "value": "a"})).unwrap();
        assert_eq!((read.name.as_str(), read.value.as_str()), ("x-tenant", "a"));
        for wrong in [json!({}), json!({"name": "a b", "value": "x"}), json!({"name": "a", "value": "\n"})] {
            assert!(header(&wrong).is_err(), "{wrong}");
        }
    }
}
