//! The only code that decides a mapping's state. It asks "what is true?", never "what
//! happened?": a lost message costs an interval, and any step may be run twice.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::exit::Contract;
use crate::health::HealthStatus;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum MappingState {
    /// Closed, on its way to open.
    #[default]
    Pending,
    /// Open: rule in the kernel, forwarder listening, upstream healthy.
    Applied,
    /// Closed until its proxy works, and leads where it should, again.
    Failed,
}

/// May the mapping be used at all, as far as the operator is concerned?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enabled {
    Yes,
    ProxyDisabled,
    MappingDisabled,
}

/// Is the client's forwarder listening, with this upstream in its loaded configuration?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forwarder {
    Ready,
    /// Why not, in words.
    NotReady(String),
}

/// Is the client's redirect in the kernel?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    Confirmed,
    /// The agent answered, and the rule is not there; why, in words.
    Absent(String),
    /// The agent did not answer, which says nothing about the kernel: rules stay while an
    /// agent is restarted.
    Unanswered(String),
    /// The agent has not answered for so long that the last confirmation is worth nothing.
    Stale(String),
}

#[derive(Debug, Clone)]
pub struct Facts {
    pub proxy: String,
    pub enabled: Enabled,
    pub health: HealthStatus,
    /// Why the last check failed, if it did.
    pub health_error: Option<String>,
    /// Of the exit address that the last check saw.
    pub contract: Contract,
    pub forwarder: Forwarder,
    pub rule: Rule,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub state: MappingState,
    pub reason: String,
}

impl Facts {
    /// Shall this mapping be in its forwarder's configuration and, through it, in the kernel?
    pub fn wanted(&self) -> bool {
        self.enabled == Enabled::Yes && self.health.is_up() && self.contract == Contract::Kept
    }
}

pub fn step(state: MappingState, facts: &Facts) -> Verdict {
    use MappingState::{Applied, Failed, Pending};
    let proxy = &facts.proxy;
    let say = |state, reason: String| Verdict { state, reason };

    match facts.enabled {
        Enabled::ProxyDisabled => return say(Failed, format!("proxy {proxy} is disabled")),
        Enabled::MappingDisabled => return say(Failed, "the mapping is disabled".to_owned()),
        Enabled::Yes => {}
    }
    match facts.health {
        HealthStatus::Down => {
            let why = facts.health_error.as_deref().unwrap_or("its last checks failed");
            return say(Failed, format!("proxy {proxy} is down: {why}"));
        }
        HealthStatus::Unknown => {
            return say(Pending, format!("waiting for the first health check of proxy {proxy}"));
        }
        HealthStatus::Ok | HealthStatus::Degraded => {}
    }
    if let Contract::Broken(why) = &facts.contract {
        return say(Failed, why.clone());
    }
    if state == Failed {
        return say(Pending, format!("proxy {proxy} can be used again; opening"));
    }
    if let Forwarder::NotReady(why) = &facts.forwarder {
        return say(Pending, format!("the forwarder is not ready: {why}"));
    }
    match (&facts.rule, state) {
        (Rule::Confirmed, Pending | Applied | Failed) | (Rule::Unanswered(_), Applied) => say(
            Applied,
            match facts.health {
                HealthStatus::Degraded => {
                    format!("open through {proxy}, which is slow or fails now and then")
                }
                HealthStatus::Ok | HealthStatus::Unknown | HealthStatus::Down => {
                    format!("open through {proxy}")
                }
            },
        ),
        (Rule::Absent(why), Pending | Applied | Failed) => {
            say(Pending, format!("the rule is not in the kernel: {why}"))
        }
        (Rule::Unanswered(why), Pending | Failed) | (Rule::Stale(why), Pending | Applied | Failed) => {
            say(Pending, format!("the rule cannot be confirmed: {why}"))
        }
    }
}

impl MappingState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Applied => "APPLIED",
            Self::Failed => "FAILED",
        }
    }
}

impl fmt::Display for MappingState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::MappingState::{Applied, Failed, Pending};
    use super::*;

    const STATES: [MappingState; 3] = [Pending, Applied, Failed];
    const ENABLED: [Enabled; 3] = [Enabled::Yes, Enabled::ProxyDisabled, Enabled::MappingDisabled];
    const HEALTH: [HealthStatus; 4] =
        [HealthStatus::Unknown, HealthStatus::Ok, HealthStatus::Degraded, HealthStatus::Down];

    fn contracts() -> [Contract; 2] {
        [Contract::Kept, Contract::Broken("exit is 203.0.113.9 (DE), expected NL".into())]
    }

    fn forwarders() -> [Forwarder; 2] {
        [Forwarder::Ready, Forwarder::NotReady("it does not start".into())]
    }

    fn rules() -> [Rule; 4] {
        let why = || "agent says why".to_owned();
        [Rule::Confirmed, Rule::Absent(why()), Rule::Unanswered(why()), Rule::Stale(why())]
    }

    fn every_case() -> Vec<(MappingState, Facts)> {
        let mut cases = Vec::new();
        for state in STATES {
            for enabled in ENABLED {
                for health in HEALTH {
                    for (contract, forwarder) in
                        contracts().iter().flat_map(|c| forwarders().map(|f| (c.clone(), f)))
                    {
                        for rule in rules() {
                            let facts = Facts {
                                proxy: "de1".into(),
                                enabled,
                                health,
                                health_error: None,
                                contract: contract.clone(),
                                forwarder: forwarder.clone(),
                                rule,
                            };
                            cases.push((state, facts));
                        }
                    }
                }
            }
        }
        assert_eq!(cases.len(), 3 * 3 * 4 * 2 * 2 * 4);
        cases
    }

    #[test]
    fn applied_is_only_said_when_rule_forwarder_health_and_contract_are_facts() {
        for (state, facts) in every_case() {
            let said = step(state, &facts).state;
            let all_facts = facts.wanted() && facts.forwarder == Forwarder::Ready;
            let want = match (&facts.rule, state) {
                (Rule::Confirmed, Pending | Applied) | (Rule::Unanswered(_), Applied) => all_facts,
                _ => false,
            };
            assert_eq!(said == Applied, want, "{state} {facts:?} gave {said}");
        }
    }

    #[test]
    fn failed_is_said_exactly_when_the_proxy_is_down_or_leads_elsewhere_or_the_operator_said_no() {
        for (state, facts) in every_case() {
            let elsewhere = facts.health.is_up() && facts.contract != Contract::Kept;
            let want = facts.enabled != Enabled::Yes || facts.health == HealthStatus::Down || elsewhere;
            assert_eq!(step(state, &facts).state == Failed, want, "{state} {facts:?}");
        }
    }

    #[test]
    fn a_step_repeated_on_the_same_facts_settles() {
        for (state, facts) in every_case() {
            let settled = step(step(state, &facts).state, &facts);
            assert_eq!(step(settled.state, &facts), settled, "{state} {facts:?}");
        }
    }

    #[test]
    fn every_verdict_says_why_in_one_sentence() {
        for (state, facts) in every_case() {
            let reason = step(state, &facts).reason;
            assert!(reason.len() > 10 && !reason.ends_with('.') && !reason.contains('\n'), "{reason:?}");
        }
    }

    #[test]
    fn the_table_of_the_contract() {
        let good = Facts {
            proxy: "de1".into(),
            enabled: Enabled::Yes,
            health: HealthStatus::Ok,
            health_error: None,
            contract: Contract::Kept,
            forwarder: Forwarder::Ready,
            rule: Rule::Confirmed,
        };
        let why = "exit is 203.0.113.9 (DE), expected NL";
        let abroad = Facts { contract: Contract::Broken(why.into()), ..good.clone() };
        let abroad_and_down = Facts { health: HealthStatus::Down, ..abroad.clone() };
        let down = Facts { health: HealthStatus::Down, health_error: Some("407".into()), ..good.clone() };
        let unchecked = Facts { health: HealthStatus::Unknown, ..good.clone() };
        let starting = Facts { forwarder: Forwarder::NotReady("starting".into()), ..good.clone() };
        let no_agent = Facts { rule: Rule::Unanswered("agent is down".into()), ..good.clone() };
        let disabled = Facts { enabled: Enabled::ProxyDisabled, ..good.clone() };
        for (state, facts, want, reason) in [
            (Pending, &unchecked, Pending, "waiting for the first health check of proxy de1"),
            (Pending, &starting, Pending, "the forwarder is not ready: starting"),
            (Pending, &no_agent, Pending, "the rule cannot be confirmed: agent is down"),
            (Pending, &good, Applied, "open through de1"),
            (Pending, &down, Failed, "proxy de1 is down: 407"),
            (Applied, &good, Applied, "open through de1"),
            (Applied, &no_agent, Applied, "open through de1"),
            (Applied, &starting, Pending, "the forwarder is not ready: starting"),
            (Applied, &down, Failed, "proxy de1 is down: 407"),
            (Applied, &disabled, Failed, "proxy de1 is disabled"),
            (Failed, &down, Failed, "proxy de1 is down: 407"),
            (Pending, &abroad, Failed, why),
            (Applied, &abroad, Failed, why),
            (Failed, &abroad, Failed, why),
            (Failed, &abroad_and_down, Failed, "proxy de1 is down: its last checks failed"),
            (Failed, &good, Pending, "proxy de1 can be used again; opening"),
        ] {
            let verdict = step(state, facts);
            assert_eq!((verdict.state, verdict.reason.as_str()), (want, reason), "{state} {facts:?}");
        }
    }
}
