//! `pgw gateway`: the gateways that share a database.

use clap::Subcommand;

use crate::desk::Desk;
use crate::error::Error;
use crate::gateway::Gateway;
use crate::named::{Noun, nothing_else};
use crate::table::{Column, text, time, yes_no};

const MEMBER: Noun =
    Noun { word: "gateway", path: "/v1/gateways", searched: true, single: false, also: nothing_else };

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
    /// Forgets some that will not come back; their machines must be off
    Rm {
        #[arg(required = true)]
        gateways: Vec<String>,
        /// With their devices and tunnel clients, and what these have
        #[arg(long)]
        cascade: bool,
    },
}

impl Member {
    pub(crate) async fn run(self, gateway: &Gateway, desk: &mut Desk) -> Result<(), Error> {
        match self {
            Self::List => desk.list(gateway.whole(MEMBER.path).await?, LIST),
            Self::Rm { gateways, cascade } => MEMBER.remove(gateway, desk, &gateways, cascade).await,
        }
    }
}
