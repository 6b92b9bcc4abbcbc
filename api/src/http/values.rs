//! What a value must look like. Every text has a bound, and nothing that is shown to an
//! operator can play tricks with the line it stands on.

use std::collections::BTreeMap;

use pgw_core::country::Country;
use pgw_core::exit::{ExitNet, Expect};
use pgw_core::ids::ClientIp;
use pgw_core::mac::Mac;
use pgw_core::proxy::{Credentials, Host, ProxyError, Scheme};
use pgw_core::redact::Secret;
use pgw_core::settings::{GATEWAY_ALLOWED, is_gateway_name};
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use super::fields::{Fields, Read};
use crate::passwords::{LONGEST_PASSWORD, SHORTEST_PASSWORD};

const LONGEST_NAME: usize = 100;
const LONGEST_NOTE: usize = 1000;
const LONGEST_QUERY: usize = 200;
const MOST_LABELS: usize = 32;
const LONGEST_LABEL: usize = 63;
const LONGEST_LABEL_VALUE: usize = 255;

pub(super) fn text(value: &Value) -> Read<&str> {
    value.as_str().ok_or_else(|| "must be text".to_owned())
}

/// Not a control character, and none that reorders or hides its neighbours.
fn is_printable(letter: char) -> bool {
    !letter.is_control()
        && !matches!(letter, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn bounded(text: &str, longest: usize, fits: impl Fn(char) -> bool) -> Read<String> {
    if text.chars().count() > longest {
        Err(format!("is longer than {longest} characters"))
    } else if !text.chars().all(fits) {
        Err("has characters that cannot be printed".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

pub(super) fn name(value: &Value) -> Read<String> {
    let given = text(value)?;
    match given.trim() {
        "" => Err("is empty".to_owned()),
        // With the spaces around it: so it can be said in a schema.
        _ if given.chars().count() > LONGEST_NAME => Err(format!("is longer than {LONGEST_NAME} characters")),
        name => bounded(name, LONGEST_NAME, is_printable),
    }
}

pub(super) fn gateway(value: &Value) -> Read<String> {
    let name = text(value)?;
    if is_gateway_name(name) { Ok(name.to_owned()) } else { Err(format!("must be {GATEWAY_ALLOWED}")) }
}

pub(super) fn note(value: &Value) -> Read<String> {
    bounded(text(value)?, LONGEST_NOTE, |letter| is_printable(letter) || matches!(letter, '\n' | '\t'))
}

pub(super) fn search(value: &Value) -> Read<String> {
    bounded(text(value)?, LONGEST_QUERY, is_printable)
}

pub(super) fn boolean(value: &Value) -> Read<bool> {
    value.as_bool().ok_or_else(|| "must be true or false".to_owned())
}

/// In a query everything is text.
pub(super) fn boolean_word(value: &Value) -> Read<bool> {
    text(value)?.parse().map_err(|_neither| "must be true or false".to_owned())
}

pub(super) fn port(value: &Value) -> Read<u16> {
    whole_number(value, 1, u16::MAX)
}

pub(super) fn priority(value: &Value) -> Read<u16> {
    whole_number(value, 0, u16::MAX)
}

fn whole_number(value: &Value, least: u16, most: u16) -> Read<u16> {
    let number = value.as_u64().and_then(|number| u16::try_from(number).ok());
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("must be a whole number from {least} to {most}"))
}

pub(super) fn number_word(value: &Value, least: u32, most: u32) -> Read<u32> {
    let number = text(value)?.parse().ok();
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("must be a whole number from {least} to {most}"))
}

pub(super) fn port_word(value: &Value) -> Read<u16> {
    let number = number_word(value, 1, u16::MAX.into())?;
    u16::try_from(number).map_err(|error| error.to_string())
}

pub(super) fn uuid(value: &Value) -> Read<Uuid> {
    text(value)?.parse().map_err(|_not_one| "must be an id, a UUID".to_owned())
}

/// One of the words of an enumeration.
pub(super) fn word<T: DeserializeOwned>(allowed: &'static str) -> impl FnOnce(&Value) -> Read<T> {
    move |value| T::deserialize(value).map_err(|_other| format!("must be one of {allowed}"))
}

pub(super) fn scheme(value: &Value) -> Read<Scheme> {
    text(value)?.parse().map_err(|_other| "must be one of http, https, socks5".to_owned())
}

pub(super) fn host(value: &Value) -> Read<Host> {
    text(value)?.trim().parse().map_err(|error: ProxyError| error.to_string())
}

pub(super) fn client_ip(value: &Value) -> Read<ClientIp> {
    text(value)?.parse().map_err(|error: pgw_core::ids::ClientIpError| error.to_string())
}

pub(super) fn mac(value: &Value) -> Read<Mac> {
    text(value)?.parse().map_err(|error: pgw_core::mac::MacError| error.to_string())
}

/// What the scheme cannot carry of a login, where all of it is known.
pub(super) fn carried(
    fields: &mut Fields,
    scheme: Option<Scheme>,
    username: Option<&str>,
    password: Option<&Secret>,
) {
    let (Some(scheme), Some(username)) = (scheme, username) else { return };
    if let Err(error) = scheme.carries(username, password.map_or("", Secret::expose)) {
        let field = if error == ProxyError::LongPassword { "password" } else { "username" };
        fields.wrong(field, error.to_string());
    }
}

/// What is left out may be anything.
pub(super) fn expect(fields: &mut Fields) -> Expect {
    Expect {
        exit_ip: fields.optional("exit_ip", exit_net),
        country: fields.optional("country", country),
        stable: fields.optional("stable", boolean).unwrap_or(false),
    }
}

fn exit_net(value: &Value) -> Read<ExitNet> {
    text(value)?.parse().map_err(|error: pgw_core::exit::ExitNetError| error.to_string())
}

fn country(value: &Value) -> Read<Country> {
    text(value)?.parse().map_err(|error: pgw_core::country::CountryError| error.to_string())
}

/// The rules for both are core's; each is asked with a harmless other.
pub(super) fn username(value: &Value) -> Read<String> {
    Credentials::new(text(value)?, "").map(|both| both.username).map_err(|error| error.to_string())
}

pub(super) fn password(value: &Value) -> Read<Secret> {
    match text(value)? {
        "" => Err("is empty; leave it out, or clear it with null".to_owned()),
        password => {
            Credentials::new("user", password).map(|both| both.password).map_err(|error| error.to_string())
        }
    }
}

/// One that somebody chooses to log in with.
pub(super) fn new_password(value: &Value) -> Read<Secret> {
    if text(value)?.chars().count() < SHORTEST_PASSWORD {
        return Err(format!("is shorter than {SHORTEST_PASSWORD} characters"));
    }
    typed_password(value)
}

/// One that may be the right one.
pub(super) fn typed_password(value: &Value) -> Read<Secret> {
    match text(value)? {
        "" => Err("is empty".to_owned()),
        long if long.chars().count() > LONGEST_PASSWORD => {
            Err(format!("is longer than {LONGEST_PASSWORD} characters"))
        }
        password => Ok(Secret::new(password)),
    }
}

pub(super) fn labels(fields: &mut Fields) -> Option<BTreeMap<String, String>> {
    let given = fields.optional("labels", |value| match value.as_object() {
        None => Err("must be an object of texts".to_owned()),
        Some(labels) if labels.len() > MOST_LABELS => Err(format!("has more than {MOST_LABELS} entries")),
        Some(labels) => Ok(labels.clone()),
    })?;
    let mut labels = BTreeMap::new();
    for (key, value) in given {
        match label(&key, &value) {
            Ok(value) => drop(labels.insert(key, value)),
            Err(detail) => fields.wrong_inside("labels", &key, detail),
        }
    }
    Some(labels)
}

fn label(key: &str, value: &Value) -> Read<String> {
    if key.trim().is_empty() {
        return Err("has an empty key".to_owned());
    }
    bounded(key, LONGEST_LABEL, is_printable).map_err(|detail| format!("has a key that {detail}"))?;
    bounded(text(value)?, LONGEST_LABEL_VALUE, is_printable)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_is_trimmed_bounded_and_cannot_disguise_itself() {
        assert_eq!(name(&json!("  Büro 📱 ")), Ok("Büro 📱".to_owned()));
        assert!(name(&json!("x".repeat(100))).is_ok());
        for refused in [
            json!(""),
            json!("  "),
            json!("x".repeat(101)),
            json!(" ".repeat(100) + "x"),
            json!("a\nb"),
            json!("a\u{202e}b"),
            json!(7),
        ] {
            assert!(name(&refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_note_may_have_lines_but_has_an_end() {
        assert!(note(&json!("first\nsecond\t3")).is_ok() && note(&json!("")).is_ok());
        assert!(note(&json!("x".repeat(1001))).is_err() && note(&json!("\u{0}")).is_err());
    }

    #[test]
    fn numbers_are_whole_and_in_range() {
        assert_eq!(port(&json!(65535)), Ok(65535));
        for refused in [json!(0), json!(65536), json!(-1), json!(1.5), json!("80"), json!(1e300), json!(true)]
        {
            assert!(port(&refused).is_err(), "{refused}");
        }
        assert_eq!(priority(&json!(0)), Ok(0));
    }
}
