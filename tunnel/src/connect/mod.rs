//! The client's end: `pgw-connect`.

pub mod arguments;
mod carrier;
pub mod config;
mod lanes;
mod own_address;
mod ports;
pub mod run;
mod session;
mod target;
mod token;

pub use session::Failed;
