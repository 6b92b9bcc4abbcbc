//! G4: kill the API between any two effects, start it again, and it converges; at no moment does
//! a rule lead a device to somebody else's forwarder, or a forwarder stop before its rule is gone.
#![expect(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod world;

use std::sync::Arc;

use pgw_core::health::HealthStatus;
use pgw_core::state::MappingState;
use world::{Process, World};

/// What an operator, or the internet, does to a gateway with one open client.
#[derive(Debug, Clone, Copy)]
enum Change {
    CreateMapping,
    ProxyDown,
    ProxyBack,
    SecondProxy,
    DeleteMapping,
    ReplaceMapping,
    DeleteClient,
    ForwarderDies,
    AddressMoves,
}

const CHANGES: [Change; 9] = [
    Change::CreateMapping,
    Change::ProxyDown,
    Change::ProxyBack,
    Change::SecondProxy,
    Change::DeleteMapping,
    Change::ReplaceMapping,
    Change::DeleteClient,
    Change::ForwarderDies,
    Change::AddressMoves,
];

/// The effects of the longest way are fewer than this; the test asserts that it got to the end.
const MORE_THAN_ENOUGH: usize = 60;

#[tokio::test]
async fn g4_killed_between_any_two_effects_it_converges_and_nothing_is_open_that_should_not_be() {
    for change in CHANGES {
        let mut survived = 0;
        for effects in 0..MORE_THAN_ENOUGH {
            let world = World::new().await;
            let process = Process::start(&world).await;
            prepare(change, &world, &process).await;

            world.kill_after(effects);
            let whole = process.until_killed(apply(change, &world, &process)).await;
            world.live_on();

            let process = Process::start(&world).await;
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

async fn prepare(change: Change, world: &Arc<World>, process: &Process) {
    match change {
        Change::CreateMapping => world.client("tv", "10.0.0.3").await,
        Change::ProxyBack => {
            world.open_client(process).await;
            world.health("de1", HealthStatus::Down).await;
            process.sees_health().await;
            process.converge().await;
        }
        Change::ProxyDown
        | Change::SecondProxy
        | Change::DeleteMapping
        | Change::ReplaceMapping
        | Change::DeleteClient
        | Change::ForwarderDies
        | Change::AddressMoves => world.open_client(process).await,
    }
}

async fn apply(change: Change, world: &Arc<World>, process: &Process) {
    match change {
        Change::CreateMapping => world.map("tv", "de1").await,
        Change::ProxyDown => world.health("de1", HealthStatus::Down).await,
        Change::ProxyBack => world.health("de1", HealthStatus::Ok).await,
        Change::SecondProxy => world.map("tv", "fr1").await,
        Change::DeleteMapping => world.unmap("tv", "de1").await,
        Change::ReplaceMapping => {
            world.unmap("tv", "de1").await;
            world.map("tv", "fr1").await;
        }
        Change::DeleteClient => world.delete_client("tv").await,
        Change::ForwarderDies => world.forwarder_dies(15001),
        Change::AddressMoves => world.move_client("tv", "10.0.0.4").await,
    }
    process.sees_health().await;
    process.converge().await;
}

async fn assert_end(change: Change, world: &Arc<World>) {
    let said = |state: MappingState| async move {
        for mapping in world.mappings().await {
            assert_eq!(mapping.state, state, "{change:?}: {}", mapping.reason);
        }
    };
    let open = |address: &str| {
        assert_eq!(world.redirects(), [(address.parse().unwrap(), 15001)].into(), "{change:?}");
        assert_eq!(world.forwarders(), [15001].into(), "{change:?}");
        assert_eq!(world.flags(), [15001].into(), "{change:?}");
    };
    let shut = || {
        assert!(
            world.redirects().is_empty() && world.forwarders().is_empty() && world.flags().is_empty(),
            "{change:?}"
        );
    };
    match change {
        Change::CreateMapping
        | Change::ProxyBack
        | Change::SecondProxy
        | Change::ForwarderDies
        | Change::ReplaceMapping => {
            open("10.0.0.3");
            said(MappingState::Applied).await;
            assert!(world.registered("10.0.0.3"));
        }
        Change::AddressMoves => {
            open("10.0.0.4");
            said(MappingState::Applied).await;
            assert!(!world.registered("10.0.0.3"), "the old address is nobody's any more");
        }
        Change::ProxyDown => {
            shut();
            said(MappingState::Failed).await;
            assert!(world.registered("10.0.0.3"), "closed by a rule, not by the absence of one");
        }
        Change::DeleteMapping => {
            shut();
            assert!(world.registered("10.0.0.3"));
            assert!(
                world.mappings().await.is_empty()
                    && world.plans().await.iter().all(|plan| plan.port.is_none())
            );
        }
        Change::DeleteClient => {
            shut();
            assert!(!world.registered("10.0.0.3"), "a deleted client is let alone");
            assert!(world.plans().await.is_empty());
        }
    }
}
