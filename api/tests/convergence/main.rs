//! The convergence loop over a small world of its own: killed anywhere (`kills`), and with an agent
//! or a forwarder that says nothing (`silence`).
#![expect(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod kills;
mod silence;
mod world;
