//! The way of a connection, step by step, in the order in which a packet meets what decides.

use super::{
    AskedClient, Destination, Explanation, Known, KnownRoute, Outcome, Passes, Step, StepName, Subject,
    Upstream, WayOut,
};
use crate::ids::ClientIp;
use crate::state::{Forwarder, Rule};

pub fn explain(subject: Subject, destination: Destination) -> Explanation {
    match subject {
        Subject::Gateway(ip_cidr) => {
            let detail = "this is an address of the gateway itself: what it opens is redirected nowhere";
            nobodys(ip_cidr, destination, detail, Vec::new())
        }
        Subject::Stranger(ip_cidr) => {
            let detail =
                "this address is not registered: its IPv4 is left alone, or kept in by PGW_UNREGISTERED=drop";
            let changes = ["register the device: POST /v1/clients", "map it to a proxy: POST /v1/mappings"];
            nobodys(ip_cidr, destination, detail, changes.map(str::to_owned).into())
        }
        Subject::Registered(known) if destination.ends_at_gateway(known.dns) && destination.port != 53 => {
            at_gateway(known, destination)
        }
        Subject::Registered(known) => Walk::through(&known, &destination).told(known, destination),
    }
}

/// Of an address that is no client's.
fn nobodys(
    ip_cidr: ClientIp,
    destination: Destination,
    detail: &str,
    what_would_have_to_change: Vec<String>,
) -> Explanation {
    let client = AskedClient { id: None, name: None, ip_cidr };
    Explanation {
        summary: format!("{}: {detail}", client.words()),
        client,
        destination,
        verdict: Outcome::NotRegistered,
        leaves_by: None,
        steps: vec![Step::new(StepName::Registered, Passes::No, detail.to_owned())],
        upstreams: Vec::new(),
        what_would_have_to_change,
    }
}

/// Whether the device is open or closed decides nothing there.
fn at_gateway(known: Known, destination: Destination) -> Explanation {
    let detail = "addresses of the gateway are never redirected: its own services answer there, and the ports of \
                  forwarders to nobody who comes without the redirect";
    Explanation {
        summary: format!(
            "{} gets to {} at the gateway itself: {detail}",
            known.client.words(),
            destination.words()
        ),
        client: known.client,
        destination,
        verdict: Outcome::AtGateway,
        leaves_by: None,
        steps: vec![Step::new(StepName::Destination, Passes::Yes, detail.to_owned())],
        upstreams: upstreams(known.routes),
        what_would_have_to_change: Vec::new(),
    }
}

impl Step {
    fn new(step: StepName, passes: Passes, detail: String) -> Self {
        Self { step, passes, detail }
    }
}

impl KnownRoute {
    fn ready(&self) -> bool {
        self.facts.wanted() && self.facts.forwarder == Forwarder::Ready
    }
}

#[derive(Default)]
struct Walk {
    steps: Vec<Step>,
    changes: Vec<String>,
    way: Option<WayOut>,
}

impl Walk {
    fn through(known: &Known, destination: &Destination) -> Self {
        let mut walk = Self::default();
        let fate = destination.fate(known.dns);
        let registered = walk.registered(known);
        let passes = if fate.open { Passes::Yes } else { Passes::No };
        walk.step(StepName::Destination, passes, fate.detail);
        if !fate.open {
            walk.changes.push(fate.instead.to_owned());
        }
        if let Some(port) = registered
            && walk.upstream(known)
            && let Some(route) = walk.forwarder(known, port)
            && walk.rule(route)
            && fate.open
        {
            walk.way = Some(WayOut {
                mapping_id: route.mapping.id,
                proxy_id: route.mapping.proxy_id,
                proxy: route.facts.proxy.clone(),
                exit_ip: route.health.exit_ip.clone(),
                country: route.health.country,
                port,
                target: route.mapping.target,
            });
        }
        walk
    }

    fn step(&mut self, step: StepName, passes: Passes, detail: String) {
        self.steps.push(Step::new(step, passes, detail));
    }

    fn ends(&mut self, step: StepName, detail: String, change: String) {
        self.step(step, Passes::No, detail);
        self.changes.push(change);
    }

    /// The port of its forwarder.
    fn registered(&mut self, known: &Known) -> Option<u16> {
        let who = known.client.words();
        match known.port.filter(|_port| !known.routes.is_empty()) {
            Some(port) => {
                let routes = known.routes.len();
                let mappings =
                    if routes == 1 { "one mapping".to_owned() } else { format!("{routes} mappings") };
                let detail = format!("{who} is registered, with {mappings}, and has forwarder port {port}");
                self.step(StepName::Registered, Passes::Yes, detail);
                Some(port)
            }
            None => {
                let detail = format!("{who} is registered and has no mapping, so it is closed");
                self.ends(StepName::Registered, detail, "map it to a proxy: POST /v1/mappings".to_owned());
                None
            }
        }
    }

    fn upstream(&mut self, known: &Known) -> bool {
        let usable = known.routes.iter().filter(|route| route.facts.wanted()).count();
        if usable > 0 {
            let detail = format!("{usable} of {} can be used", known.routes.len());
            self.step(StepName::Upstream, Passes::Yes, detail);
            return true;
        }
        let joined = |word: &str, each: fn(&KnownRoute) -> String| {
            known.routes.iter().map(each).collect::<Vec<_>>().join(word)
        };
        let change = joined("; or ", KnownRoute::remedy);
        self.ends(StepName::Upstream, joined("; ", KnownRoute::reason), change);
        false
    }

    /// The first upstream that the forwarder has.
    fn forwarder<'a>(&mut self, known: &'a Known, port: u16) -> Option<&'a KnownRoute> {
        let wanted = || known.routes.iter().filter(|route| route.facts.wanted());
        let found = wanted().find(|route| route.ready());
        match found {
            Some(route) => {
                let detail = format!("the forwarder on port {port} serves with {} first", route.facts.proxy);
                self.step(StepName::Forwarder, Passes::Yes, detail);
            }
            None => {
                let detail = wanted().next().map(KnownRoute::reason).unwrap_or_default();
                let change = format!(
                    "the forwarder on port {port} must run with an upstream that works; pgw-api sees to it, and its \
                     log says what hinders it"
                );
                self.ends(StepName::Forwarder, detail, change);
            }
        }
        found
    }

    fn rule(&mut self, route: &KnownRoute) -> bool {
        let (passes, detail, change) = match &route.facts.rule {
            Rule::Confirmed => {
                (Passes::Yes, "the agent has read the redirect back from the kernel".to_owned(), None)
            }
            Rule::Unanswered(why) => (
                Passes::Yes,
                format!(
                    "the agent confirmed the redirect a moment ago and does not answer now, which no rule minds: {why}"
                ),
                None,
            ),
            Rule::Absent(why) => (
                Passes::No,
                format!("the redirect is not in the kernel: {why}"),
                Some(
                    "the agent must put the redirect into the kernel; it tries at every reconcile, and GET /agent/status says what hinders it",
                ),
            ),
            Rule::Stale(why) => (
                Passes::Unknown,
                format!(
                    "nobody has confirmed the redirect for long; rules outlive their agent, so it may be there: {why}"
                ),
                Some("pgw-agent must answer"),
            ),
        };
        self.step(StepName::Rule, passes, detail);
        self.changes.extend(change.map(str::to_owned));
        passes != Passes::No
    }

    fn verdict(&self) -> Outcome {
        let unknown = self.steps.iter().any(|step| step.passes == Passes::Unknown);
        match (&self.way, unknown) {
            (None, _) => Outcome::Closed,
            (Some(_), true) => Outcome::Unconfirmed,
            (Some(_), false) => Outcome::LeavesBy,
        }
    }

    fn summary(&self, who: &str, whither: &str) -> String {
        let seen_as = |way: &WayOut| match (&way.exit_ip, way.country) {
            (Some(ip), Some(country)) => format!("seen as {ip} ({country})"),
            (Some(ip), None) => format!("seen as {ip}"),
            (None, _) => "seen as an address that the health probe does not tell".to_owned(),
        };
        match &self.way {
            Some(way) if self.verdict() == Outcome::LeavesBy => {
                format!("{who} leaves for {whither} by {}, {}", way.proxy, seen_as(way))
            }
            Some(way) => {
                format!("{who} leaves for {whither} by {}, or not at all: the agent does not tell", way.proxy)
            }
            None => {
                let hindered = self.steps.iter().filter(|step| step.passes == Passes::No);
                let why: Vec<&str> = hindered.map(|step| step.detail.as_str()).collect();
                format!("{who} does not get to {whither}: {}", why.join("; "))
            }
        }
    }

    fn told(mut self, known: Known, destination: Destination) -> Explanation {
        let (mut verdict, who, whither) = (self.verdict(), known.client.words(), destination.words());
        let mut summary = self.summary(&who, &whither);
        if destination.ends_at_gateway(known.dns) && self.way.take().is_some() {
            verdict = Outcome::AtGateway;
            summary = format!("{who} is answered at {whither}, by the gateway's own resolver");
        }
        Explanation {
            verdict,
            summary,
            client: known.client,
            destination,
            leaves_by: self.way,
            steps: self.steps,
            upstreams: upstreams(known.routes),
            what_would_have_to_change: self.changes,
        }
    }
}

fn upstreams(routes: Vec<KnownRoute>) -> Vec<Upstream> {
    let mut first = true;
    let told = |route: KnownRoute| {
        let usable = route.ready();
        let before = first;
        first &= !usable;
        let why = match (usable, before) {
            (true, true) => {
                "used first: of those that can be used it has the lowest priority; one that failed in use is passed \
                 over for ten seconds"
                    .to_owned()
            }
            (true, false) => "stands by: it is asked when those before it fail or are silent".to_owned(),
            (false, _) => route.reason(),
        };
        Upstream {
            mapping_id: route.mapping.id,
            proxy_id: route.mapping.proxy_id,
            proxy: route.facts.proxy,
            priority: route.mapping.priority,
            state: route.mapping.state,
            health: route.health,
            usable,
            why,
        }
    };
    routes.into_iter().map(told).collect()
}
