//! Is an upstream fit to carry a device? `scheduler` decides when to ask, `probe` asks,
//! `pgw_core::health::Gate` judges.

pub mod probe;
pub mod scheduler;
