//! G4: kill the API between any two effects, start it again, and it converges; at no moment does
//! a rule lead a device to somebody else's forwarder, or a forwarder stop before its rule is gone.
//! So also while the agent fails, or the database cannot be written.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use pgw_core::exit::Expect;
use pgw_core::health::HealthStatus;
use pgw_core::state::MappingState;

use crate::world::{Mood, Process, World};

/// What an operator, or the internet, does to a gateway with one open client, and another beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    CreateMapping,
    ProxyDown,
    ProxyBack,
    SecondProxy,
    SwitchOff,
    SwitchOffOne,
    DeleteMapping,
    ReplaceMapping,
    DeleteClient,
    ForwarderDies,
    AddressMoves,
    PortChangesHands,
    /// Elsewhere than the mapping expects it to.
    ExitMoves,
    ExitReturns,
    /// To where a device is that shares its exit with nobody.
    ExitIsTaken,
}

const CHANGES: [Change; 15] = [
    Change::ExitMoves,
    Change::ExitReturns,
    Change::ExitIsTaken,
    Change::CreateMapping,
    Change::ProxyDown,
    Change::ProxyBack,
    Change::SecondProxy,
    Change::SwitchOff,
    Change::SwitchOffOne,
    Change::DeleteMapping,
    Change::ReplaceMapping,
    Change::DeleteClient,
    Change::ForwarderDies,
    Change::AddressMoves,
    Change::PortChangesHands,
];

/// The effects of the longest way are fewer than this; the test asserts that it got to the end.
const MORE_THAN_ENOUGH: usize = 120;

/// What goes wrong from the change on, and is over some time after the restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    AgentFails,
    WritesFail,
}

const BYSTANDER: &str = "10.0.0.9";
const ELSEWHERE: &str = "203.0.113.99";

#[tokio::test]
async fn g4_killed_between_any_two_effects_it_converges_and_nothing_is_open_that_should_not_be() {
    kill_everywhere(Trouble::None).await;
}

#[tokio::test]
async fn g4_so_it_does_when_the_agent_fails_for_a_while() {
    kill_everywhere(Trouble::AgentFails).await;
}

#[tokio::test]
async fn g4_so_it_does_when_the_database_cannot_be_written_for_a_while() {
    kill_everywhere(Trouble::WritesFail).await;
}

async fn kill_everywhere(trouble: Trouble) {
    for change in CHANGES {
        let mut survived = 0;
        for effects in 0..MORE_THAN_ENOUGH {
            let world = World::new().await;
            let process = Process::start(&world).await;
            prepare(change, &world, &process).await;

            world.kill_after(effects);
            let whole = process
                .until_killed(async {
                    act(change, &world, &process).await;
                    set(trouble, &world, true).await;
                    process.sees_health().await;
                    process.round().await;
                })
                .await;
            world.live_on();

            set(trouble, &world, true).await;
            let process = Process::start(&world).await;
            process.converge().await;
            assert_closed(change, &world, trouble);
            set(trouble, &world, false).await;
            process.converge().await;
            assert_end(change, &world).await;
            if whole {
                survived = effects;
                break;
            }
        }
        assert!(survived > 0, "{change:?} was never seen to end by itself, or had no effect at all");
    }
}

async fn set(trouble: Trouble, world: &Arc<World>, on: bool) {
    match trouble {
        Trouble::None => {}
        Trouble::AgentFails => world.agent(if on { Mood::Fails } else { Mood::Answers }),
        Trouble::WritesFail => world.writes_fail(on).await,
    }
}

async fn prepare(change: Change, world: &Arc<World>, process: &Process) {
    match change {
        Change::CreateMapping => world.client("tv", "10.0.0.3").await,
        Change::ExitMoves | Change::ExitReturns => {
            world.client("tv", "10.0.0.3").await;
            let expect = Expect { exit_ip: "203.0.113.21".parse().ok(), stable: true, ..Expect::default() };
            world.map_expecting("tv", "de1", expect, false).await;
            if change == Change::ExitReturns {
                process.converge().await;
                world.exit("de1", ELSEWHERE).await;
                process.sees_health().await;
            }
        }
        Change::ProxyBack => {
            world.open_client(process).await;
            world.health("de1", HealthStatus::Down).await;
            process.sees_health().await;
        }
        Change::SwitchOffOne => {
            world.open_client(process).await;
            world.map("tv", "fr1").await;
        }
        Change::ProxyDown
        | Change::SecondProxy
        | Change::SwitchOff
        | Change::DeleteMapping
        | Change::ReplaceMapping
        | Change::DeleteClient
        | Change::ForwarderDies
        | Change::AddressMoves
        | Change::ExitIsTaken
        | Change::PortChangesHands => world.open_client(process).await,
    }
    world.client("bystander", BYSTANDER).await;
    if change != Change::PortChangesHands {
        let exclusive = change == Change::ExitIsTaken;
        world.map_expecting("bystander", "fr1", Expect::default(), exclusive).await;
    }
    process.converge().await;
    world.watch_over(BYSTANDER);
}

async fn act(change: Change, world: &Arc<World>, process: &Process) {
    match change {
        Change::CreateMapping => world.map("tv", "de1").await,
        Change::ProxyDown => world.health("de1", HealthStatus::Down).await,
        Change::ProxyBack => world.health("de1", HealthStatus::Ok).await,
        Change::SecondProxy => world.map("tv", "fr1").await,
        Change::SwitchOff | Change::SwitchOffOne => world.enable("tv", "de1", false).await,
        Change::DeleteMapping => world.unmap("tv", "de1").await,
        Change::ReplaceMapping => {
            world.unmap("tv", "de1").await;
            world.map("tv", "fr1").await;
        }
        Change::DeleteClient => world.delete_client("tv").await,
        Change::ExitMoves => world.exit("de1", ELSEWHERE).await,
        Change::ExitReturns => world.exit("de1", "203.0.113.21").await,
        Change::ExitIsTaken => world.exit("de1", "203.0.113.22").await,
        Change::ForwarderDies => world.forwarder_dies(15001),
        Change::AddressMoves => world.move_client("tv", "10.0.0.4").await,
        Change::PortChangesHands => {
            world.unmap("tv", "de1").await;
            process.round().await;
            world.map("bystander", "fr1").await;
        }
    }
}

/// What is closed does not wait for the end of a trouble.
fn assert_closed(change: Change, world: &Arc<World>, trouble: Trouble) {
    let carried = |port| world.served(port).is_some_and(|flag| !flag.upstreams.is_empty());
    match change {
        Change::ProxyDown
        | Change::SwitchOff
        | Change::DeleteMapping
        | Change::DeleteClient
        | Change::ExitMoves
        | Change::ExitIsTaken => {
            assert!(!carried(15001), "{change:?} {trouble:?}: the device is open");
        }
        Change::CreateMapping
        | Change::ProxyBack
        | Change::ExitReturns
        | Change::SecondProxy
        | Change::SwitchOffOne
        | Change::ReplaceMapping
        | Change::ForwarderDies
        | Change::AddressMoves
        | Change::PortChangesHands => {}
    }
}

async fn assert_end(change: Change, world: &Arc<World>) {
    let open = |address: &str| vec![address.parse::<Ipv4Addr>().unwrap()];
    let (tv, states): (Vec<Ipv4Addr>, &[(&str, MappingState)]) = match change {
        Change::CreateMapping | Change::ProxyBack | Change::ExitReturns | Change::ForwarderDies => {
            (open("10.0.0.3"), &[("de1", MappingState::Applied)])
        }
        Change::SecondProxy => {
            (open("10.0.0.3"), &[("de1", MappingState::Applied), ("fr1", MappingState::Applied)])
        }
        Change::SwitchOffOne => {
            (open("10.0.0.3"), &[("de1", MappingState::Failed), ("fr1", MappingState::Applied)])
        }
        Change::ReplaceMapping => (open("10.0.0.3"), &[("fr1", MappingState::Applied)]),
        Change::AddressMoves => (open("10.0.0.4"), &[("de1", MappingState::Applied)]),
        Change::ProxyDown | Change::SwitchOff | Change::ExitMoves | Change::ExitIsTaken => {
            (vec![], &[("de1", MappingState::Failed)])
        }
        Change::DeleteMapping | Change::DeleteClient | Change::PortChangesHands => (vec![], &[]),
    };
    let plans = world.plans().await;
    let mut redirects = BTreeMap::new();
    for plan in &plans {
        let routes: Vec<_> =
            plan.routes.iter().map(|route| (&*route.proxy.upstream.name, route.mapping.state)).collect();
        if plan.client.name == "tv" {
            assert_eq!(routes, states, "{change:?}");
            assert_eq!(
                plan.port.is_some(),
                !states.is_empty(),
                "{change:?}: a port goes with its last mapping"
            );
        }
        let ip = plan.client.ip_cidr.addr();
        if plan.client.name == "tv" && tv.contains(&ip) || plan.client.name != "tv" && !routes.is_empty() {
            redirects.insert(ip, plan.port.unwrap());
        }
        assert!(world.registered(&ip.to_string()), "{change:?}: {} is not registered", plan.client.name);
    }
    let ports: BTreeSet<u16> = redirects.values().copied().collect();
    assert_eq!(world.redirects(), redirects, "{change:?}");
    assert_eq!((world.forwarders(), world.flags()), (ports.clone(), ports), "{change:?}");
    let tv_there = plans.iter().any(|plan| plan.client.name == "tv");
    assert_eq!(tv_there, change != Change::DeleteClient, "{change:?}");
    let former = matches!(change, Change::DeleteClient | Change::AddressMoves);
    assert_eq!(world.registered("10.0.0.3"), !former, "{change:?}: nobody's address is let alone");
}
