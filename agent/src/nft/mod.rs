//! What the kernel holds for pgw: `plan` says what it means, `render` how it is written, `diff`
//! what has to change, `kernel` does it. Only the tables `ip pgw` and `inet pgw_filter` are ours.

pub mod diff;
pub mod kernel;
pub mod listing;
pub mod own;
pub mod plan;
pub mod render;
pub mod ruleset;
pub mod watch;

#[cfg(test)]
mod contract;
#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod trace;
