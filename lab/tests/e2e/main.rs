//! The guarantees, one test each, on a real gateway in a lab. `cargo test -p pgw-lab` runs them
//! all; `cargo test -p pgw-lab -- upstream` those with that word in their name.
//!
//! Every test is a process of its own with namespaces of its own, so that none can disturb
//! another, and a test that hangs or dies leaves nothing behind.

mod agent;
mod alone;
mod closed;
mod crashes;
mod evidence;
mod faults;
mod harness;
mod hostname;
mod lab_itself;
mod names;
mod operators;
mod removal;
mod rules;
mod through;
mod upstreams;

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
        crashes::TESTS,
        agent::TESTS,
        removal::TESTS,
        rules::TESTS,
        operators::TESTS,
        faults::TESTS,
    ])
}
