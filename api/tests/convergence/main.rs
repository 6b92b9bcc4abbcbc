//! The convergence loop over a small world of its own: killed anywhere (`kills`), with an agent or a
//! forwarder that says nothing (`silence`), and with exits of which something is expected (`exits`).
#![expect(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod exits;
mod kills;
mod silence;
mod world;
