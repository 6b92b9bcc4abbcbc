//! The package's life on a gateway, in a Debian that a real systemd has booted: installed, used,
//! restarted, upgraded, hurt and removed, with a device that tries every door all the while.
//!
//! `cargo xtask deb` makes the package and `cargo xtask test` all that is needed;
//! `cargo test -p pgw-lab --test lifecycle -- upgrade` runs those with that word in their name.

mod boots;
mod faults;
mod first_run;
#[path = "../e2e/harness.rs"]
mod harness;
mod numbers;
mod removal;
mod running;
mod setup;
mod upgrade;

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::main(&[
        first_run::TESTS,
        boots::TESTS,
        running::TESTS,
        upgrade::TESTS,
        removal::TESTS,
        faults::TESTS,
    ])
}
