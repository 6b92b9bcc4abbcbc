//! Who says nothing holds nobody up, and is not taken for dead.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pgw_api::converge::{Converger, Settled, Subject};
use pgw_core::ids::ClientId;
use pgw_core::state::MappingState;

use crate::world::{Mood, Process, World};

/// A client that is open, and an agent that has been asked for something and hangs.
async fn open_with_an_agent_that_hangs() -> (Arc<World>, Process, Converger) {
    let world = World::new().await;
    let process = Process::start(&world).await;
    world.open_client(&process).await;
    world.agent(Mood::Hangs);
    let converger = process.converger();
    settled(&converger, world.client_id("tv").await).await;
    (world, process, converger)
}

/// The promise is that nobody is kept; a test that hangs would only say so to the patient.
async fn settled(converger: &Converger, client: ClientId) -> Settled {
    tokio::time::timeout(Duration::from_secs(30), converger.settle(client)).await.unwrap()
}

fn lets_nobody_out(world: &World, port: u16) -> bool {
    world.served(port).is_none_or(|flag| flag.upstreams.is_empty())
}

#[tokio::test]
async fn a_door_is_shut_while_a_run_waits_for_an_agent_that_hangs() {
    let (world, _process, converger) = open_with_an_agent_that_hangs().await;
    let tv = world.client_id("tv").await;
    assert!(!lets_nobody_out(&world, 15001));
    world.enable("tv", "de1", false).await;
    let told = settled(&converger, tv).await;
    assert_eq!(told, Settled::Shut("the agent does not answer".into()), "nobody has confirmed the rest");
    assert!(lets_nobody_out(&world, 15001));
    assert_eq!(world.mapping("tv", "de1").await.unwrap().state, MappingState::Failed);

    world.agent(Mood::Answers);
    assert_eq!(settled(&converger, tv).await, Settled::Yes);
    assert!(world.redirects().is_empty() && world.forwarders().is_empty() && world.flags().is_empty());
}

#[tokio::test]
async fn what_is_removed_keeps_its_port_until_an_agent_that_hangs_has_answered() {
    let (world, _process, converger) = open_with_an_agent_that_hangs().await;
    let tv = world.client_id("tv").await;
    world.unmap("tv", "de1").await;
    assert!(matches!(settled(&converger, tv).await, Settled::Shut(_)));
    assert!(lets_nobody_out(&world, 15001));
    assert_eq!(world.plans().await[0].port, Some(15001), "a rule may still lead to it");

    world.agent(Mood::Answers);
    assert_eq!(settled(&converger, tv).await, Settled::Yes);
    assert_eq!(world.plans().await[0].port, None);
}

#[tokio::test]
async fn a_forwarder_that_does_not_answer_is_neither_stopped_nor_called_dead() {
    let world = World::new().await;
    let process = Process::start(&world).await;
    world.open_client(&process).await;
    let before = world.served(15001).unwrap().revision;
    let tv = Subject::Client(world.client_id("tv").await);
    world.silent.store(true, Ordering::SeqCst);

    let Settled::No(why) = process.look(tv).await else { panic!("nobody could be asked") };
    assert!(why.contains("not known"), "{why}");
    let mapping = world.mapping("tv", "de1").await.unwrap();
    assert_eq!(mapping.state, MappingState::Applied, "{}", mapping.reason);
    assert_eq!(world.served(15001).unwrap().revision, before);
    assert_eq!(world.redirects().len(), 1);

    world.silent.store(false, Ordering::SeqCst);
    assert_eq!(process.look(tv).await, Settled::Yes);
}

#[tokio::test]
async fn a_port_is_not_swept_and_opened_at_the_same_time() {
    let world = World::new().await;
    let process = Arc::new(Process::start(&world).await);
    world.leave_a_forwarder_behind(&process).await;
    let hold = world.stops.acquire().await.unwrap();
    let sweep = {
        let process = process.clone();
        tokio::spawn(async move { process.look(Subject::Port(15001)).await })
    };
    while !world.is_in_hand(15001) {
        tokio::task::yield_now().await;
    }
    world.client("pc", "10.0.0.5").await;
    world.map("pc", "fr1").await;
    let pc = world.client_id("pc").await;
    let opened = {
        let process = process.clone();
        tokio::spawn(async move { process.look(Subject::Client(pc)).await })
    };
    // Two hands on one port are a panic in the world. This one has had its chance by then.
    process.look(Subject::Kernel).await;
    assert!(!opened.is_finished());
    drop(hold);
    assert_eq!((sweep.await.unwrap(), opened.await.unwrap()), (Settled::Yes, Settled::Yes));
    assert_eq!(world.served(15001).unwrap().client.name, "pc");
    assert_eq!(world.mapping("pc", "fr1").await.unwrap().state, MappingState::Applied);
}

#[tokio::test]
async fn nobodys_forwarder_lets_nobody_out_although_the_agent_hangs() {
    let world = World::new().await;
    let process = Process::start(&world).await;
    world.leave_a_forwarder_behind(&process).await;
    world.start_forwarder(15001);
    assert!(!lets_nobody_out(&world, 15001));
    world.agent(Mood::Hangs);
    let converger = process.converger();
    world.asked.notified().await;
    while !lets_nobody_out(&world, 15001) {
        tokio::task::yield_now().await;
    }
    world.agent(Mood::Answers);
    while !world.forwarders().is_empty() {
        tokio::task::yield_now().await;
    }
    drop(converger);
}
