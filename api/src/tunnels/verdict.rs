//! What state a tunnel is in, from what the operator wants and what its daemon says: pure.

use pgw_core::tunnel::{Origin, State, TunnelStatus};

pub const UNVERIFIED: &str = "it waits to be verified";
pub const OPENING: &str = "it is being opened";
pub const SILENT: &str = "the tunnel daemon does not answer";
const AWAY: &str = "its client is not connected";
const CLIENT_DISABLED: &str = "its client is switched off";

/// What the database knows.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    pub enabled: bool,
    pub verified: bool,
    pub client_enabled: bool,
    /// What it was said to be until now.
    pub now: (State, Option<&'a str>),
}

/// `answers`: the daemon does; then what it does not tell of is not there yet.
pub fn verdict(facts: &Facts<'_>, told: Option<&TunnelStatus>, answers: bool) -> (State, Option<String>) {
    let because = |state, reason: &str| (state, Some(reason.to_owned()));
    if !facts.enabled {
        // Who closed it was written down when he did.
        return (State::Offline, facts.now.1.map(str::to_owned));
    }
    if !facts.verified {
        return because(State::Pending, UNVERIFIED);
    }
    if !answers {
        return because(State::Pending, SILENT);
    }
    match told {
        None if facts.client_enabled => because(State::Pending, OPENING),
        Some(told) if facts.client_enabled || told.origin == Origin::Client => {
            let said = told.reason.as_ref().map(|reason| reason.detail.clone());
            let reason = said.or_else(|| (told.state == State::Offline).then(|| AWAY.to_owned()));
            (told.state, reason)
        }
        None | Some(_) => because(State::Offline, CLIENT_DISABLED),
    }
}

pub fn closed_by(who: Option<&str>) -> String {
    who.map_or_else(|| "closed".to_owned(), |who| format!("closed by {who}"))
}

#[cfg(test)]
mod tests {
    use pgw_core::ids::{TunnelClientId, TunnelId};
    use pgw_core::tunnel::{PortConflict, Protocol, Reason, Target};
    use uuid::Uuid;

    use super::*;

    fn told(state: State, reason: Option<Reason>) -> TunnelStatus {
        TunnelStatus {
            id: TunnelId(Uuid::nil()),
            client_id: TunnelClientId(Uuid::nil()),
            name: "ssh".into(),
            origin: Origin::Operator,
            protocol: Protocol::Tcp,
            public_port: Some(10_000),
            route: None,
            target: Target { host: "127.0.0.1".into(), port: 22 },
            state,
            reason,
            bytes_in: 0,
            bytes_out: 0,
            connections: 0,
            active: 0,
        }
    }

    #[test]
    fn a_tunnel_is_active_only_where_everything_is_wanted_and_the_daemon_says_so() {
        let fine = Facts {
            enabled: true,
            verified: true,
            client_enabled: true,
            now: (State::Offline, Some("closed by user alice")),
        };
        let (active, away) = (told(State::Active, None), told(State::Offline, None));
        let taken = told(State::Failed, Some(Reason::from(PortConflict::PortInUse)));
        for (facts, told, answers, want, reason) in [
            (fine, Some(&active), true, State::Active, ""),
            (fine, Some(&away), true, State::Offline, AWAY),
            (fine, Some(&taken), true, State::Failed, "another tunnel or program"),
            (fine, None, true, State::Pending, OPENING),
            (fine, None, false, State::Pending, SILENT),
            (Facts { verified: false, ..fine }, Some(&active), true, State::Pending, UNVERIFIED),
            (Facts { verified: false, ..fine }, None, false, State::Pending, UNVERIFIED),
            (Facts { enabled: false, ..fine }, Some(&active), true, State::Offline, "closed by user alice"),
            (Facts { enabled: false, ..fine }, None, false, State::Offline, "closed by user alice"),
            (Facts { client_enabled: false, ..fine }, Some(&away), true, State::Offline, CLIENT_DISABLED),
            (Facts { client_enabled: false, ..fine }, None, true, State::Offline, CLIENT_DISABLED),
        ] {
            let (state, said) = verdict(&facts, told, answers);
            assert_eq!(state, want, "{facts:?} {told:?}");
            let said = said.unwrap_or_default();
            assert!(said.starts_with(reason) && said.is_empty() == reason.is_empty(), "{said}");
        }
    }
}
