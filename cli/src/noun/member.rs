//! `pgw gateway`: the gateways that share a database.

use clap::Subcommand;

use crate::desk::Desk;
use crate::error::Error;
use crate::gateway::Gateway;
use crate::table::{Column, text, time, yes_no};

pub(crate) const LIST: &[Column] = &[
    text("GATEWAY", "/name"),
    yes_no("ONLINE", "/online"),
    text("CLIENTS", "/clients"),
    text("APPLIED", "/applied"),
    text("PENDING", "/pending"),
    text("FAILED", "/failed"),
    text("PORTS FREE", "/ports_free"),
    text("VERSION", "/version"),
    time("SEEN", "/seen_at"),
];

#[derive(Subcommand)]
pub(crate) enum Member {
    /// Shows all of them
    #[command(visible_alias = "ls")]
    List,
}

impl Member {
    pub(crate) async fn run(self, gateway: &Gateway, desk: &mut Desk) -> Result<(), Error> {
        match self {
            Self::List => desk.list(gateway.whole("/v1/gateways").await?, LIST),
        }
    }
}
