use jiff::Timestamp;
use uuid::Uuid;

use super::*;
use crate::exit::{Contract, Expect};
use crate::health::HealthStatus;
use crate::state::{Enabled, Forwarder, Rule};

fn route(n: u128, name: &str) -> KnownRoute {
    let now = Timestamp::UNIX_EPOCH;
    let mapping = Mapping {
        id: MappingId(Uuid::from_u128(n)),
        client_id: ClientId(Uuid::nil()),
        proxy_id: ProxyId(Uuid::from_u128(n)),
        priority: u16::try_from(n).unwrap(),
        target: Target::Original,
        enabled: true,
        expect: Expect::default(),
        exclusive: false,
        stable_exit_ip: None,
        gateway: "gw1".into(),
        port: 15001,
        state: MappingState::Applied,
        reason: String::new(),
        revision: 1,
        applied_at: None,
        created_at: now,
        updated_at: now,
    };
    let health =
        Health { status: HealthStatus::Ok, exit_ip: Some("203.0.113.21".into()), ..Health::default() };
    let facts = Facts {
        proxy: name.to_owned(),
        enabled: Enabled::Yes,
        health: HealthStatus::Ok,
        health_error: None,
        contract: Contract::Kept,
        forwarder: Forwarder::Ready,
        rule: Rule::Confirmed,
    };
    KnownRoute { mapping, health, facts }
}

fn down(n: u128, name: &str) -> KnownRoute {
    let mut route = route(n, name);
    (route.facts.health, route.health.status) = (HealthStatus::Down, HealthStatus::Down);
    route.facts.health_error = Some("it did not answer in time".into());
    route.mapping.state = MappingState::Failed;
    route
}

fn known(routes: Vec<KnownRoute>) -> Known {
    let client = AskedClient {
        id: Some(ClientId(Uuid::nil())),
        name: Some("tv".into()),
        ip_cidr: "10.0.0.3".parse().unwrap(),
    };
    let port = (!routes.is_empty()).then_some(15001);
    Known { client, port, routes, dns: DnsChoice::Upstream }
}

fn to(port: u16) -> Destination {
    Destination { host: Some("shop.example".into()), port, at_gateway: false }
}

fn ask(routes: Vec<KnownRoute>, port: u16) -> Explanation {
    explain(Subject::Registered(known(routes)), to(port))
}

/// The route, with one fact changed.
fn but(edit: impl FnOnce(&mut Facts)) -> Vec<KnownRoute> {
    let mut route = route(1, "de1");
    edit(&mut route.facts);
    vec![route]
}

/// The step at which the way ends or becomes uncertain.
fn stop(told: &Explanation) -> Option<(StepName, Passes)> {
    told.steps.iter().find(|step| step.passes != Passes::Yes).map(|step| (step.step, step.passes))
}

#[test]
fn each_fact_that_is_missing_closes_at_its_own_step_and_says_what_would_open() {
    use Outcome::{Closed, LeavesBy, Unconfirmed};
    let no = |step| Some((step, Passes::No));
    let why = || "why".to_owned();
    for (routes, verdict, ends, change) in [
        (but(|_| {}), LeavesBy, None, ""),
        (but(|f| f.health = HealthStatus::Degraded), LeavesBy, None, ""),
        (but(|f| f.rule = Rule::Unanswered(why())), LeavesBy, None, ""),
        (vec![], Closed, no(StepName::Registered), "POST /v1/mappings"),
        (vec![down(1, "de1")], Closed, no(StepName::Upstream), "proxy de1 must work again: it did not"),
        (but(|f| f.health = HealthStatus::Unknown), Closed, no(StepName::Upstream), "pass a health check"),
        (
            but(|f| f.contract = Contract::Broken("exit is 203.0.113.9 (DE), expected NL".into())),
            Closed,
            no(StepName::Upstream),
            "must lead where the mapping expects it to (exit is 203.0.113.9 (DE), expected NL)",
        ),
        (but(|f| f.enabled = Enabled::ProxyDisabled), Closed, no(StepName::Upstream), "PATCH /v1/proxies/"),
        (
            but(|f| f.enabled = Enabled::MappingDisabled),
            Closed,
            no(StepName::Upstream),
            "PATCH /v1/mappings/",
        ),
        (but(|f| f.forwarder = Forwarder::NotReady(why())), Closed, no(StepName::Forwarder), "must run"),
        (but(|f| f.rule = Rule::Absent(why())), Closed, no(StepName::Rule), "into the kernel"),
        (
            but(|f| f.rule = Rule::Stale(why())),
            Unconfirmed,
            Some((StepName::Rule, Passes::Unknown)),
            "pgw-agent must answer",
        ),
    ] {
        let told = ask(routes, 443);
        assert_eq!((told.verdict, stop(&told)), (verdict, ends), "{told:#?}");
        assert_eq!(told.what_would_have_to_change.is_empty(), verdict == LeavesBy, "{told:#?}");
        let changes = told.what_would_have_to_change.join("\n");
        assert!(changes.contains(change), "{changes:?} does not say {change:?}");
        assert_eq!(told.leaves_by.is_some(), verdict != Closed, "{told:#?}");
        assert!(told.summary.starts_with("tv (10.0.0.3) "), "{}", told.summary);
    }
}

#[test]
fn what_becomes_of_a_port_is_told_whatever_the_upstreams_are_like() {
    for (port, open) in [(80, true), (443, true), (53, true), (22, false), (853, false), (8443, false)] {
        let told = ask(vec![route(1, "de1")], port);
        assert_eq!(told.verdict == Outcome::LeavesBy, open, "{told:#?}");
        let told = ask(vec![down(1, "de1")], port);
        assert_eq!((told.verdict, told.leaves_by), (Outcome::Closed, None));
        // Both hindrances, so that nobody removes one and finds the other.
        assert_eq!(told.what_would_have_to_change.len(), if open { 1 } else { 2 });
    }
    let mut at_the_gateway = known(vec![route(1, "de1")]);
    at_the_gateway.dns = DnsChoice::Gateway;
    let told = explain(Subject::Registered(at_the_gateway), to(53));
    assert_eq!((told.verdict, stop(&told)), (Outcome::Closed, Some((StepName::Destination, Passes::No))));
    for host in ["2001:db8::1", "[2001:db8::1]"] {
        let v6 = Destination { host: Some(host.into()), port: 443, at_gateway: false };
        let told = explain(Subject::Registered(known(vec![route(1, "de1")])), v6);
        assert_eq!(told.verdict, Outcome::Closed);
        assert!(told.summary.contains("IPv6"), "{}", told.summary);
    }
}

#[test]
fn the_first_upstream_that_can_be_used_is_named_and_each_other_says_why_not() {
    let mut unloaded = route(2, "de2");
    unloaded.facts.forwarder = Forwarder::NotReady("it is being started".into());
    let told = ask(vec![down(1, "de1"), unloaded, route(3, "de3"), route(4, "de4")], 443);
    let way = told.leaves_by.unwrap();
    assert_eq!((way.proxy.as_str(), way.exit_ip.as_deref(), way.port), ("de3", Some("203.0.113.21"), 15001));
    for (upstream, (usable, why)) in told.upstreams.iter().zip([
        (false, "proxy de1 is down: it did not answer in time"),
        (false, "the forwarder is not ready: it is being started"),
        (true, "used first"),
        (true, "stands by"),
    ]) {
        assert_eq!(upstream.usable, usable, "{upstream:?}");
        assert!(upstream.why.starts_with(why), "{upstream:?}");
    }
    assert_eq!(told.summary, "tv (10.0.0.3) leaves for shop.example, port 443 by de3, seen as 203.0.113.21");
}

#[test]
fn of_several_upstreams_that_cannot_be_used_any_one_would_do() {
    let mut disabled = route(2, "de2");
    disabled.facts.enabled = Enabled::ProxyDisabled;
    let told = ask(vec![down(1, "de1"), disabled], 443);
    let [change] = told.what_would_have_to_change.as_slice() else { panic!("{told:#?}") };
    assert!(change.contains("de1 must work again") && change.contains("; or enable proxy de2"), "{change}");
    assert!(told.summary.contains("de1 is down") && told.summary.contains("de2 is disabled"));
}

#[test]
fn a_stranger_is_never_said_to_be_closed_or_to_leave_by_anything() {
    let told = explain(Subject::Stranger("10.0.0.9".parse().unwrap()), to(443));
    assert_eq!((told.verdict, told.leaves_by), (Outcome::NotRegistered, None));
    assert_eq!(told.client.id, None);
    assert!(told.summary.starts_with("10.0.0.9: this address is not registered"), "{}", told.summary);
}

#[test]
fn what_ends_at_the_gateway_needs_no_upstream_but_for_names_that_go_by_one() {
    use Outcome::{AtGateway, Closed, LeavesBy};
    let at = |port| Destination { host: Some("10.0.0.1".into()), port, at_gateway: true };
    for (dns, port, open, closed) in [
        (DnsChoice::Upstream, 443, AtGateway, AtGateway),
        (DnsChoice::Upstream, 8080, AtGateway, AtGateway),
        (DnsChoice::Upstream, 53, LeavesBy, Closed),
        (DnsChoice::Gateway, 22, AtGateway, AtGateway),
        (DnsChoice::Gateway, 53, AtGateway, Closed),
    ] {
        for (routes, want) in [(vec![route(1, "de1")], open), (vec![down(1, "de1")], closed)] {
            let told = explain(Subject::Registered(Known { dns, ..known(routes) }), at(port));
            assert_eq!((told.verdict, told.leaves_by.is_some()), (want, want == LeavesBy), "{told:#?}");
        }
    }
    let told = explain(Subject::Gateway("10.0.0.1".parse().unwrap()), to(443));
    assert_eq!((told.verdict, told.what_would_have_to_change.len()), (Outcome::NotRegistered, 0));
    assert!(told.summary.contains("the gateway itself"), "{}", told.summary);
}
