//! Is an upstream fit to carry a device? `scheduler` decides when to ask, `probe` asks,
//! `pgw_core::health::Gate` judges; `evidence` brings what forwarders see in between.

pub mod evidence;
pub mod probe;
pub mod scheduler;
