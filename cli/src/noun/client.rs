//! `pgw client`: registered devices.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{Fields, ListArgs};
use crate::desk::Desk;
use crate::error::Error;
use crate::gateway::{Gateway, field};
use crate::named::Noun;
use crate::table::{Column, address, text, time};

pub(crate) const CLIENT: Noun = Noun {
    word: "client",
    path: "/v1/clients",
    searched: true,
    single: true,
    also: |client| {
        let cidr = field(client, "ip_cidr");
        let ip = cidr.strip_suffix("/32").unwrap_or(cidr);
        vec![ip.to_owned(), cidr.to_owned(), field(client, "mac").to_owned()]
    },
};

const LIST: &[Column] = &[
    text("NAME", "/name"),
    address("ADDRESS", "/ip_cidr"),
    text("MAC", "/mac"),
    text("GATEWAY", "/gateway"),
    text("NOTE", "/note"),
];

const SHEET: &[Column] = &[
    text("NAME", "/name"),
    text("ID", "/id"),
    address("ADDRESS", "/ip_cidr"),
    text("MAC", "/mac"),
    text("GATEWAY", "/gateway"),
    text("NOTE", "/note"),
    time("CREATED", "/created_at"),
    time("UPDATED", "/updated_at"),
];

#[derive(Subcommand)]
pub(crate) enum Client {
    /// Shows all of them
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        list: ListArgs,
        /// Only those of this gateway
        #[arg(long)]
        gateway: Option<String>,
    },
    /// Shows one, and its ways out
    Show { client: String },
    /// Registers a device: it is closed until it is mapped
    Add(Add),
    /// Changes one; what is not said stays
    Edit(Edit),
    /// Unregisters some: the gateway no longer touches their traffic
    Rm {
        #[arg(required = true)]
        clients: Vec<String>,
        /// With their mappings
        #[arg(long)]
        cascade: bool,
    },
}

#[derive(Args)]
pub(crate) struct Add {
    /// What it is to be called
    name: String,
    /// Its IPv4 address
    address: String,
    /// The one hardware that may use this address
    #[arg(long)]
    mac: Option<String>,
    /// A word about it
    #[arg(long)]
    note: Option<String>,
    /// The gateway to which it is connected, if it is another one
    #[arg(long)]
    gateway: Option<String>,
}

#[derive(Args)]
pub(crate) struct Edit {
    client: String,
    /// Another name
    #[arg(long)]
    name: Option<String>,
    /// Another IPv4 address
    #[arg(long)]
    address: Option<String>,
    /// The one hardware that may use this address
    #[arg(long)]
    mac: Option<String>,
    /// Any hardware may use this address
    #[arg(long, conflicts_with = "mac")]
    no_mac: bool,
    /// A word about it
    #[arg(long)]
    note: Option<String>,
}

impl Client {
    pub(crate) async fn run(self, gateway: &Gateway, desk: &mut Desk) -> Result<(), Error> {
        match self {
            Self::List { list, gateway: of } => {
                let [q, sort] = list.query();
                let found = gateway.all(CLIENT.path, &[q, sort, ("gateway", of)], list.most()).await?;
                desk.list(found, LIST)
            }
            Self::Show { client } => show(gateway, desk, &client).await,
            Self::Add(add) => {
                let mut fields = Fields::default();
                fields
                    .set("name", Some(add.name))
                    .set("ip_cidr", Some(add.address))
                    .set("mac", add.mac)
                    .set("note", add.note)
                    .set("gateway", add.gateway);
                let made = gateway.post(CLIENT.path, &fields.into_new()).await?;
                desk.done(
                    &made,
                    &format!("{} is registered, and closed until it is mapped", CLIENT.called(&made)),
                )
            }
            Self::Edit(edit) => {
                let mut fields = Fields::default();
                fields
                    .set("name", edit.name)
                    .set("ip_cidr", edit.address)
                    .set("mac", edit.no_mac.then_some(Value::Null))
                    .set("mac", edit.mac)
                    .set("note", edit.note);
                CLIENT.change(gateway, desk, &edit.client, fields).await
            }
            Self::Rm { clients, cascade } => CLIENT.remove(gateway, desk, &clients, cascade).await,
        }
    }
}

async fn show(gateway: &Gateway, desk: &mut Desk, word: &str) -> Result<(), Error> {
    let client = CLIENT.find(gateway, word).await?;
    if desk.is_script() {
        return desk.value(&client);
    }
    desk.thing(&client, SHEET)?;
    desk.line("")?;
    super::mapping::show_of(gateway, desk, &client).await
}
