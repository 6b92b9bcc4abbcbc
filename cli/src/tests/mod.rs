//! The command line as it is typed, against a gateway that answers what it was told to.

mod described;
pub(crate) mod fake;
mod imports;
mod lists;
mod maps;
mod refusals;
mod secrets;
mod streams;
mod tunnels;
