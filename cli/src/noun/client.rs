//! `pgw client`: registered devices.

use clap::{Args, Subcommand};
use pgw_core::ids::ClientIp;
use pgw_core::mac::Mac;
use serde_json::Value;

use super::lines::{Became, Lines};
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
    /// Registers those of a list: for each its name, its IPv4 address and, if need be, its MAC address
    Import(Lines),
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
            Self::Import(lines) => import(gateway, desk, &lines).await,
        }
    }
}

async fn import(gateway: &Gateway, desk: &mut Desk, lines: &Lines) -> Result<(), Error> {
    let mut known = gateway.all(CLIENT.path, &[], usize::MAX).await?;
    let one = async |words: &[String]| {
        let (name, ip, mac) = read(words)?;
        let cidr = ip.to_string();
        let same = |client: &&Value, at: &str, want: &str| field(client, at).eq_ignore_ascii_case(want);
        if let Some(there) = known.iter().find(|client| same(client, "ip_cidr", &cidr)) {
            let is_it =
                field(there, "name") == name && mac.is_none_or(|mac| same(&there, "mac", &mac.to_string()));
            return if is_it {
                Ok((name, Became::Unchanged))
            } else {
                Err(Error::Usage(format!(
                    "{} is {} already; see: pgw client edit",
                    ip.addr(),
                    CLIENT.called(there)
                )))
            };
        }
        let mut fields = Fields::default();
        fields
            .set("name", Some(name.clone()))
            .set("ip_cidr", Some(cidr))
            .set("mac", mac.map(|mac| mac.to_string()));
        let new = fields.into_new();
        known.push(if lines.dry_run { new } else { gateway.post(CLIENT.path, &new).await? });
        Ok((name, Became::Created))
    };
    lines.each(desk, one).await
}

fn read(words: &[String]) -> Result<(String, ClientIp, Option<Mac>), Error> {
    let (name, address, mac) = match words {
        [name, address] => (name, address, None),
        [name, address, mac] => (name, address, Some(mac)),
        _ => {
            return Err(Error::Usage(
                "a name and an IPv4 address are needed, and nothing behind a MAC address".to_owned(),
            ));
        }
    };
    let ip = address.parse::<ClientIp>().map_err(|error| Error::Usage(format!("{address}: {error}")))?;
    let mac = mac.map(|mac| mac.parse::<Mac>().map_err(|error| Error::Usage(format!("{mac}: {error}"))));
    let mac = mac.transpose()?;
    Ok((name.clone(), ip, mac))
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
