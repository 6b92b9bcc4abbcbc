//! Is an upstream fit to carry a device? `scheduler` decides when to ask, `probe` asks,
//! `pgw_core::health::Gate` judges, `records` writes down. Others ask through `checks`; `evidence`
//! brings what forwarders see in between.

pub mod checks;
pub mod countries;
mod entry;
pub mod evidence;
pub mod probe;
mod records;
pub mod scheduler;
