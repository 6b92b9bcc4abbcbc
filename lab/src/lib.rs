//! A LAN, a gateway, real upstream proxies and an internet that counts who reaches it, all in
//! private namespaces: nothing of the machine is touched, and nothing can be left behind.
//!
//! ```text
//!  c1 c2 stranger ──[lan]── ens19  gw  eth0 ──[wan]── origin, squid, microsocks, tls, dante
//! ```
//!
//! The lab's own process lives in the gateway's namespace, so that a test talks to the programs
//! as the operator of a gateway would.

pub mod bench;
pub mod canary;
pub mod command;
pub mod demo;
pub mod example;
pub mod far;
pub mod gateway;
pub mod home;
pub mod lab;
pub mod leaks;
pub mod machine;
pub mod matrix;
pub mod mmdb;
pub mod names;
pub mod net;
pub mod netns;
pub mod origin;
pub mod pki;
pub mod postgres;
pub mod raw;
pub mod relay;
pub mod rest;
pub mod sandbox;
pub mod stream;
pub mod upstream;
pub mod vigil;

pub use lab::Lab;
