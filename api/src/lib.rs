//! pgw-api: owns the truth. Proxies, clients, mappings; health; ports; forwarders.

pub mod activate;
pub mod active;
pub mod agent_client;
pub mod app;
pub mod backup;
pub mod board;
pub mod converge;
pub mod credentials;
pub mod declarative;
pub mod engine;
pub mod events;
pub mod flags;
pub mod gateway;
pub mod health;
pub mod http;
pub mod known;
pub mod neighbourhood;
pub mod passwords;
pub mod secret_file;
pub mod shared;
pub mod sole;
pub mod store;
pub mod telemetry;
pub mod tunnels;
pub mod units;
pub mod webhooks;
