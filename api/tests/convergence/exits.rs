//! What mappings expect of their exits, and how long a forwarder that died is waited for (G25, G26, G27).

use std::sync::Arc;
use std::time::Duration;

use pgw_api::converge::Settled;
use pgw_api::store::MappingPatch;
use pgw_core::exit::Expect;
use pgw_core::state::MappingState::{self, Applied, Failed, Pending};

use crate::world::{Process, World};

const A: &str = "203.0.113.21";
const B: &str = "203.0.113.22";
const C: &str = "203.0.113.23";

async fn state(world: &World, client: &str, proxy: &str) -> (MappingState, String) {
    let mapping = world.mapping(client, proxy).await.unwrap();
    (mapping.state, mapping.reason)
}

async fn assert_failed(world: &World, client: &str, proxy: &str, words: &str) {
    let (state, reason) = state(world, client, proxy).await;
    assert!(state == Failed && reason.contains(words), "{client} by {proxy} is {state}: {reason}");
}

async fn assert_applied(world: &World, client: &str, proxy: &str) {
    let (state, reason) = state(world, client, proxy).await;
    assert_eq!(state, Applied, "{client} by {proxy}: {reason}");
}

async fn seen(world: &World, process: &Process, proxy: &str, exit: &str) {
    world.exit(proxy, exit).await;
    process.sees_health().await;
    process.converge().await;
}

fn stable() -> Expect {
    Expect { stable: true, ..Expect::default() }
}

#[tokio::test]
async fn an_exit_that_is_to_stay_closes_when_it_moves_and_opens_when_it_returns_or_is_accepted() {
    let world = World::new().await;
    let process = Process::start(&world).await;
    world.client("tv", "10.0.0.3").await;
    world.map_expecting("tv", "de1", stable(), false).await;
    process.converge().await;
    assert_applied(&world, "tv", "de1").await;
    assert_eq!(world.mapping("tv", "de1").await.unwrap().stable_exit_ip, A.parse().ok());

    seen(&world, &process, "de1", B).await;
    assert_failed(&world, "tv", "de1", "exit is 203.0.113.22, and was 203.0.113.21").await;
    assert!(world.redirects().is_empty() && world.forwarders().is_empty());
    // What a restart forgets is not what was promised.
    let process = Process::start(&world).await;
    process.converge().await;
    assert_failed(&world, "tv", "de1", "and was 203.0.113.21").await;
    seen(&world, &process, "de1", A).await;
    assert_applied(&world, "tv", "de1").await;

    seen(&world, &process, "de1", B).await;
    world.change_mapping("tv", "de1", MappingPatch { accept_exit: true, ..MappingPatch::default() }).await;
    process.converge().await;
    assert_applied(&world, "tv", "de1").await;
    assert_eq!(world.mapping("tv", "de1").await.unwrap().stable_exit_ip, B.parse().ok());

    seen(&world, &process, "de1", C).await;
    assert_failed(&world, "tv", "de1", "and was 203.0.113.22").await;
    for enabled in [false, true] {
        world.enable("tv", "de1", enabled).await;
        process.converge().await;
    }
    assert_applied(&world, "tv", "de1").await;
}

#[tokio::test]
async fn a_mapping_that_is_changed_to_expect_something_else_closes_or_opens_by_it() {
    let world = World::new().await;
    let process = Process::start(&world).await;
    world.open_client(&process).await;
    let expect = |exit_ip: &str| MappingPatch {
        expect: Some(Expect { exit_ip: exit_ip.parse().ok(), ..Expect::default() }),
        ..MappingPatch::default()
    };
    world.change_mapping("tv", "de1", expect("198.51.100.0/24")).await;
    process.converge().await;
    assert_failed(&world, "tv", "de1", "exit is 203.0.113.21, expected 198.51.100.0/24").await;
    world.change_mapping("tv", "de1", expect("203.0.113.0/24")).await;
    process.converge().await;
    assert_applied(&world, "tv", "de1").await;
    let country = Expect { country: "NL".parse().ok(), ..Expect::default() };
    let patch = MappingPatch { expect: Some(country), ..MappingPatch::default() };
    world.change_mapping("tv", "de1", patch).await;
    process.converge().await;
    assert_failed(&world, "tv", "de1", "expected NL, and its country is not known").await;
}

#[tokio::test]
async fn a_broken_contract_leaves_the_device_to_its_next_mapping() {
    let world = World::new().await;
    let process = Process::start(&world).await;
    world.client("tv", "10.0.0.3").await;
    world.map_expecting("tv", "de1", stable(), false).await;
    world.map("tv", "fr1").await;
    process.converge().await;
    seen(&world, &process, "de1", C).await;
    assert_failed(&world, "tv", "de1", "and was").await;
    assert_applied(&world, "tv", "fr1").await;
    let served = world.served(15001).unwrap();
    let names: Vec<_> = served.upstreams.iter().map(|upstream| upstream.upstream.name.as_str()).collect();
    assert_eq!(names, ["fr1"], "what is broken is not even in the forwarder's file");
}

#[tokio::test]
async fn who_has_an_exit_for_itself_keeps_it_until_it_is_closed_and_then_the_next_one_gets_it() {
    let world = World::new().await;
    let process = Process::start(&world).await;
    for (name, ip) in [("tv", "10.0.0.3"), ("pc", "10.0.0.4"), ("phone", "10.0.0.5")] {
        world.client(name, ip).await;
    }
    world.map_expecting("tv", "de1", Expect::default(), true).await;
    process.converge().await;
    world.map_expecting("pc", "de1", Expect::default(), true).await;
    world.map("phone", "de1").await;
    process.converge().await;
    assert_applied(&world, "tv", "de1").await;
    for late in ["pc", "phone"] {
        assert_failed(&world, late, "de1", "exit 203.0.113.21 is used by tv (10.0.0.3) already").await;
    }
    assert_eq!(world.forwarders().len(), 1);

    world.enable("tv", "de1", false).await;
    process.converge().await;
    assert_applied(&world, "pc", "de1").await;
    assert_failed(&world, "phone", "de1", "used by pc").await;
    world.enable("tv", "de1", true).await;
    process.converge().await;
    assert_failed(&world, "tv", "de1", "used by pc").await;

    let shared = MappingPatch { exclusive: Some(false), ..MappingPatch::default() };
    for name in ["pc", "tv"] {
        world.change_mapping(name, "de1", shared.clone()).await;
    }
    process.converge().await;
    for name in ["tv", "pc", "phone"] {
        assert_applied(&world, name, "de1").await;
    }
}

#[tokio::test]
async fn who_shares_no_longer_closes_those_who_came_later_and_gives_way_to_who_came_before() {
    let world = World::new().await;
    let process = Process::start(&world).await;
    for (name, ip) in [("tv", "10.0.0.3"), ("pc", "10.0.0.4"), ("phone", "10.0.0.5")] {
        world.client(name, ip).await;
        world.map(name, "de1").await;
        process.converge().await;
    }
    let alone = |exclusive| MappingPatch { exclusive: Some(exclusive), ..MappingPatch::default() };
    world.change_mapping("pc", "de1", alone(true)).await;
    process.converge().await;
    assert_applied(&world, "tv", "de1").await;
    assert_failed(&world, "pc", "de1", "used by tv").await;

    world.change_mapping("pc", "de1", alone(false)).await;
    process.converge().await;
    assert_applied(&world, "pc", "de1").await;
    world.change_mapping("tv", "de1", alone(true)).await;
    process.converge().await;
    assert_applied(&world, "tv", "de1").await;
    for late in ["pc", "phone"] {
        assert_failed(&world, late, "de1", "used by tv").await;
    }
    assert_eq!(world.redirects().len(), 1);
}

#[tokio::test]
async fn the_same_device_may_have_two_ways_to_one_exit() {
    let world = World::new().await;
    let process = Process::start(&world).await;
    world.client("tv", "10.0.0.3").await;
    for proxy in ["de1", "fr1"] {
        world.map_expecting("tv", proxy, Expect::default(), true).await;
    }
    seen(&world, &process, "fr1", A).await;
    for proxy in ["de1", "fr1"] {
        assert_applied(&world, "tv", proxy).await;
    }
}

async fn open_with_a_kept_port() -> (Arc<World>, Process) {
    let world = World::new().await;
    let process = Process::start(&world).await;
    world.open_client(&process).await;
    world.keep_port(15001);
    world.forwarder_dies(15001);
    (world, process)
}

#[tokio::test]
async fn a_forwarder_that_is_back_within_a_moment_was_never_gone_where_its_port_is_kept() {
    let (world, process) = open_with_a_kept_port().await;
    let converger = process.converger();
    let tv = world.client_id("tv").await;
    let settled = tokio::spawn(async move { converger.settle(tv).await });
    for _look in 0..100 {
        tokio::task::yield_now().await;
        assert_applied(&world, "tv", "de1").await;
    }
    world.start_forwarder(15001);
    assert_eq!(settled.await.unwrap(), Settled::Yes);
    assert_applied(&world, "tv", "de1").await;
    let told = world.states_told().await;
    assert_eq!(told, ["PENDING APPLIED"], "opened once, and nothing since");
    assert_eq!(world.redirects().len(), 1);
}

#[tokio::test]
async fn a_forwarder_that_stays_away_is_pending_after_a_second_and_started_again() {
    let (world, process) = open_with_a_kept_port().await;
    let begun = std::time::Instant::now();
    assert_eq!(process.look(process.client("tv").await).await, Settled::Yes);
    assert!(begun.elapsed() >= Duration::from_secs(1), "it was given time to come back");
    assert_eq!(world.states_told().await, ["PENDING APPLIED", "APPLIED PENDING", "PENDING APPLIED"]);
}

/// Closed stays closed: what comes back would read a file that still lets the device out.
#[tokio::test]
async fn nobody_waits_for_a_forwarder_when_something_is_to_be_closed() {
    let (world, process) = open_with_a_kept_port().await;
    world.exit("de1", C).await;
    world
        .change_mapping(
            "tv",
            "de1",
            MappingPatch {
                expect: Some(Expect { exit_ip: A.parse().ok(), ..Expect::default() }),
                ..MappingPatch::default()
            },
        )
        .await;
    process.sees_health().await;
    let begun = std::time::Instant::now();
    assert_eq!(process.look(process.client("tv").await).await, Settled::Yes);
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_failed(&world, "tv", "de1", "expected 203.0.113.21").await;
    assert!(world.flags().is_empty());
    assert_ne!(state(&world, "tv", "de1").await.0, Pending);
}
