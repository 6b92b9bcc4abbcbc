//! The guarantees, one test each, on a real gateway in a lab. `cargo test -p pgw-lab` runs them
//! all; `cargo test -p pgw-lab -- upstream` those with that word in their name.
//!
//! Every test is a process of its own with namespaces of its own, so that none can disturb
//! another, and a test that hangs or dies leaves nothing behind.

mod agent;
mod alone;
mod closed;
mod command_line;
mod crashes;
mod crowds;
mod database;
mod documented;
mod documents;
mod drift;
mod drill;
mod events;
mod evidence;
mod exits;
mod explained;
mod faults;
mod faults_at_random;
mod flows;
mod harness;
mod hostname;
mod interfaces;
mod lab_itself;
mod names;
mod operators;
mod people;
mod removal;
mod rules;
mod setup;
mod silence;
mod sources;
mod telemetry;
mod through;
mod tunnels;
mod upstreams;
mod ways;

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::main(&[
        lab_itself::TESTS,
        through::TESTS,
        names::TESTS,
        hostname::TESTS,
        closed::TESTS,
        upstreams::TESTS,
        evidence::TESTS,
        exits::TESTS,
        events::TESTS,
        crashes::TESTS,
        database::TESTS,
        agent::TESTS,
        drift::TESTS,
        drill::TESTS,
        flows::TESTS,
        interfaces::TESTS,
        removal::TESTS,
        documents::TESTS,
        documented::TESTS,
        command_line::TESTS,
        silence::TESTS,
        rules::TESTS,
        ways::TESTS,
        sources::TESTS,
        telemetry::TESTS,
        setup::TESTS,
        operators::TESTS,
        people::TESTS,
        explained::TESTS,
        faults_at_random::TESTS,
        faults::TESTS,
        crowds::TESTS,
        tunnels::TESTS,
    ])
}
