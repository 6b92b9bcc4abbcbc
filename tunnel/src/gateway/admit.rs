//! Who may come in: decided from what was said and what the operator wants, and from nothing else.

use jiff::Timestamp;
use pgw_core::tunnel::{ClientSpec, Desired, Enrolled};

use crate::secret;
use crate::wire::hello::{Hello, MOST_PORTS, OpenPort, RefusalCode};
use crate::wire::{OLDEST, PROTOCOL};

/// Longer ones are nobody's.
const LONGEST_NAME: usize = 128;

#[derive(Debug)]
pub(super) struct Admitted<'a> {
    pub client: &'a ClientSpec,
    /// To be written down before the client hears of it.
    pub enrolled: Option<Enrolled>,
}

pub(super) fn judge<'a>(
    hello: &Hello,
    desired: &'a Desired,
    enrolled: &[Enrolled],
    now: Timestamp,
) -> Result<Admitted<'a>, RefusalCode> {
    if hello.protocol < OLDEST {
        return Err(RefusalCode::TooOld);
    }
    if hello.protocol > PROTOCOL {
        return Err(RefusalCode::TooNew);
    }
    let ports = &hello.open_ports;
    if hello.client.len() > LONGEST_NAME || ports.len() > MOST_PORTS || !ports.iter().all(OpenPort::is_fit) {
        return Err(RefusalCode::NotUnderstood);
    }
    let named = |client: &&ClientSpec| client.name == hello.client || client.id.to_string() == hello.client;
    let client = desired.clients.iter().find(named).ok_or(RefusalCode::WrongToken)?;
    let kept = enrolled.iter().filter(|kept| kept.client == client.id).map(|kept| &kept.token);
    let known = client.token.iter().chain(kept).any(|hash| secret::is(&hello.token, hash));
    let enrolled = match &hello.enrol {
        _ if known => None,
        None => return Err(RefusalCode::WrongToken),
        Some(code) => {
            let code = &code.0;
            let fits = |id| {
                desired
                    .enrolments
                    .iter()
                    .find(|enrolment| enrolment.client_id == id && secret::is(code, &enrolment.code))
            };
            let enrolment = fits(client.id).ok_or(RefusalCode::Enrolment)?;
            // Its own client, asking once more because it did not hear the answer, is known already.
            let used = enrolled.iter().any(|used| used.enrolment == enrolment.id);
            if used || enrolment.expires_at <= now || !secret::is_long_enough(&hello.token) {
                return Err(RefusalCode::Enrolment);
            }
            let token = secret::hash(&hello.token).ok_or(RefusalCode::Enrolment)?;
            Some(Enrolled { enrolment: enrolment.id, client: client.id, token })
        }
    };
    // Said last: only who shows a token learns that there is such a client.
    if !client.enabled {
        return Err(RefusalCode::Disabled);
    }
    Ok(Admitted { client, enrolled })
}

#[cfg(test)]
mod tests {
    use pgw_core::ids::{EnrolmentId, TunnelClientId};
    use pgw_core::redact::Secret;
    use pgw_core::tunnel::{Enrolment, Filter};
    use uuid::Uuid;

    use super::*;
    use crate::wire::hello::Code;

    fn token(digit: &str) -> Secret {
        Secret::new(digit.repeat(64))
    }

    fn desired() -> Desired {
        let client = |n: u128, name: &str, known: Option<Secret>| ClientSpec {
            id: TunnelClientId(Uuid::from_u128(n)),
            name: name.to_owned(),
            enabled: true,
            token: known.and_then(|token| secret::hash(&token)),
            allowed_ports: Vec::new(),
            max_tunnels: 8,
            max_connections: 100,
            bandwidth: None,
        };
        Desired {
            clients: vec![client(1, "pc", Some(token("1"))), client(2, "pi", None)],
            enrolments: vec![Enrolment {
                id: EnrolmentId(Uuid::from_u128(3)),
                client_id: TunnelClientId(Uuid::from_u128(2)),
                code: secret::hash(&Secret::new("once")).unwrap(),
                expires_at: "2026-01-01T00:10:00Z".parse().unwrap(),
            }],
            ..Desired::nothing()
        }
    }

    fn hello(client: &str, token: Secret, code: Option<&str>) -> Hello {
        Hello {
            protocol: PROTOCOL,
            version: "1".to_owned(),
            client: client.to_owned(),
            token,
            enrol: code.map(|code| Code(Secret::new(code))),
            open_ports: Vec::new(),
            filter: Filter::default(),
        }
    }

    fn said(hello: &Hello, desired: &Desired, enrolled: &[Enrolled], now: &str) -> Result<bool, RefusalCode> {
        judge(hello, desired, enrolled, now.parse().unwrap()).map(|in_| in_.enrolled.is_some())
    }

    const NOW: &str = "2026-01-01T00:00:00Z";

    #[test]
    fn a_token_lets_in_its_own_client_only() {
        let desired = desired();
        for (name, token, want) in [
            ("pc", token("1"), Ok(false)),
            ("00000000-0000-0000-0000-000000000001", token("1"), Ok(false)),
            ("pc", token("2"), Err(RefusalCode::WrongToken)),
            ("pc", Secret::new(""), Err(RefusalCode::WrongToken)),
            ("pi", token("1"), Err(RefusalCode::WrongToken)),
            ("nobody", token("1"), Err(RefusalCode::WrongToken)),
        ] {
            assert_eq!(said(&hello(name, token, None), &desired, &[], NOW), want, "{name}");
        }
        let mut off = desired;
        off.clients[0].enabled = false;
        assert_eq!(said(&hello("pc", token("1"), None), &off, &[], NOW), Err(RefusalCode::Disabled));
        assert_eq!(said(&hello("pc", token("2"), None), &off, &[], NOW), Err(RefusalCode::WrongToken));
        off.clients[0].token = None;
        assert_eq!(
            said(&hello("pc", token("1"), None), &off, &[], NOW),
            Err(RefusalCode::WrongToken),
            "revoked"
        );
    }

    #[test]
    fn a_code_makes_one_token_known_and_never_a_second() {
        let desired = desired();
        let first = hello("pi", token("a"), Some("once"));
        let enrolled = judge(&first, &desired, &[], NOW.parse().unwrap()).unwrap().enrolled.unwrap();
        let kept = [enrolled];
        assert_eq!(said(&first, &desired, &kept, NOW), Ok(false), "the answer was lost on the way");
        assert_eq!(said(&hello("pi", token("a"), None), &desired, &kept, NOW), Ok(false));
        let thief = hello("pi", token("b"), Some("once"));
        assert_eq!(said(&thief, &desired, &kept, NOW), Err(RefusalCode::Enrolment));
        for (name, code, key, now) in [
            ("pi", "twice", token("a"), NOW),
            ("pi", "once", token("a"), "2026-01-01T00:10:00Z"),
            ("pi", "once", Secret::new("weak"), NOW),
            ("pc", "once", token("a"), NOW),
        ] {
            assert_eq!(said(&hello(name, key, Some(code)), &desired, &[], now), Err(RefusalCode::Enrolment));
        }
    }

    #[test]
    fn what_an_operator_should_not_have_to_read_is_not_taken() {
        let long = "x".repeat(300);
        let hosts = ["", "a\u{1b}[2J", "two words", &long];
        let names = ["a\nb", "\u{9b}", &long];
        let asked = hosts.map(|host| (host, None)).into_iter().chain(names.map(|name| ("pi", Some(name))));
        for (host, name) in asked.chain([("192.0.2.1", Some("a name, with spaces"))]) {
            let mut hello = hello("pc", token("1"), None);
            hello.open_ports.push(OpenPort {
                remote_port: 0,
                protocol: pgw_core::tunnel::Protocol::Tcp,
                local_host: host.to_owned(),
                local_port: 80,
                name: name.map(str::to_owned),
                compression: false,
                proxy_protocol: false,
            });
            let want = if host == "192.0.2.1" { Ok(false) } else { Err(RefusalCode::NotUnderstood) };
            assert_eq!(said(&hello, &desired(), &[], NOW), want, "{host:?} {name:?}");
        }
    }

    #[test]
    fn who_speaks_another_protocol_is_told_which_end_is_old() {
        let mut hello = hello("pc", token("1"), None);
        hello.protocol = 0;
        assert_eq!(said(&hello, &desired(), &[], NOW), Err(RefusalCode::TooOld));
        hello.protocol = PROTOCOL + 1;
        assert_eq!(said(&hello, &desired(), &[], NOW), Err(RefusalCode::TooNew));
    }
}
