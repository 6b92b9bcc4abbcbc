//! `pgw map`: by which upstreams a device gets out.

mod bring;
mod import;
mod which;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::CLIENT;
use super::lines::Lines;
use super::proxy::PROXY;
use super::{Fields, ListArgs, Switch};
use crate::desk::Desk;
use crate::error::Error;
use crate::gateway::{Gateway, field};
use crate::table::{Column, address, state, text, time, yes_no};

pub(crate) use bring::Bring;
use which::{Which, called};

const PATH: &str = "/v1/mappings";

const LIST: &[Column] = &[
    text("CLIENT", "/client"),
    address("ADDRESS", "/ip_cidr"),
    text("PROXY", "/proxy"),
    text("PRIORITY", "/priority"),
    text("PORT", "/port"),
    state("STATE", "/state"),
    text("REASON", "/reason"),
];

/// Of one device.
const WAYS: &[Column] = &[
    text("PROXY", "/proxy"),
    text("PRIORITY", "/priority"),
    text("PORT", "/port"),
    state("STATE", "/state"),
    text("REASON", "/reason"),
];

const SHEET: &[Column] = &[
    text("CLIENT", "/client"),
    address("ADDRESS", "/ip_cidr"),
    text("PROXY", "/proxy"),
    text("ID", "/id"),
    text("PRIORITY", "/priority"),
    text("PORT", "/port"),
    text("TARGET", "/target"),
    yes_no("ON", "/enabled"),
    state("STATE", "/state"),
    text("REASON", "/reason"),
    text("GATEWAY", "/gateway"),
    time("APPLIED", "/applied_at"),
    time("CREATED", "/created_at"),
    time("UPDATED", "/updated_at"),
];

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Map {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    bring: Bring,
}

#[derive(Subcommand)]
enum Verb {
    /// Shows all of them, with their states
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        list: ListArgs,
        /// Only PENDING, APPLIED or FAILED ones
        #[arg(long, ignore_case = true, value_parser = ["PENDING", "APPLIED", "FAILED"])]
        state: Option<String>,
        /// Only those of this device
        #[arg(long)]
        client: Option<String>,
        /// Only those by this proxy
        #[arg(long)]
        proxy: Option<String>,
    },
    /// Shows one
    Show(Which),
    /// Lets a device out by these proxies, in this order (as without `add`)
    Add(Bring),
    /// Changes one; what is not said stays
    Edit {
        #[command(flatten)]
        which: Which,
        /// Lower goes first
        #[arg(long)]
        priority: Option<u16>,
        /// What the upstream is asked for: original or hostname
        #[arg(long, value_parser = ["original", "hostname"])]
        target: Option<String>,
        #[command(flatten)]
        switch: Switch,
    },
    /// Removes one, or all of a device, which is closed then
    Rm {
        #[command(flatten)]
        which: Which,
        /// All of this device
        #[arg(long, conflicts_with = "proxy")]
        all: bool,
    },
    /// Maps those of a list: for each a device and its proxies, in their order. Waits for none of them
    Import(Lines),
}

impl Map {
    pub(crate) async fn run(self, gateway: &Gateway, desk: &mut Desk) -> Result<(), Error> {
        match self.verb {
            None => self.bring.run(gateway, desk).await,
            Some(Verb::Add(bring)) => bring.run(gateway, desk).await,
            Some(Verb::Import(lines)) => import::run(gateway, desk, &lines).await,
            Some(Verb::List { list, state, client, proxy }) => {
                let mut query = list.query().to_vec();
                query.push(("state", state.map(|state| state.to_uppercase())));
                if let Some(word) = client {
                    query.push(("client_id", Some(id(&CLIENT.find(gateway, &word).await?))));
                }
                if let Some(word) = proxy {
                    query.push(("proxy_id", Some(id(&PROXY.find(gateway, &word).await?))));
                }
                let found = gateway.all(PATH, &query, list.most()).await?;
                let found = with_names(gateway, found).await?;
                desk.list(found, LIST)
            }
            Some(Verb::Show(which)) => desk.thing(&which.one(gateway).await?, SHEET),
            Some(Verb::Edit { which, priority, target, switch }) => {
                let mut fields = Fields::default();
                fields.set("priority", priority).set("target", target).set("enabled", switch.wanted());
                let changes = fields.into_changes()?;
                let mapping = which.one(gateway).await?;
                let now = gateway.change(PATH, &mapping, &changes).await?;
                desk.done(&now, &format!("{} is changed", called(&mapping)))
            }
            Some(Verb::Rm { which, all }) => {
                let mappings = if all { which.all(gateway).await? } else { vec![which.one(gateway).await?] };
                for mapping in &mappings {
                    gateway.remove(PATH, mapping, false).await?;
                    if !desk.is_script() {
                        desk.line(&format!("{} is removed", called(mapping)))?;
                    }
                }
                if desk.is_script() { desk.value(&Value::Array(mappings)) } else { Ok(()) }
            }
        }
    }
}

/// The ways out of one device, below the device itself.
pub(super) async fn show_of(gateway: &Gateway, desk: &mut Desk, client: &Value) -> Result<(), Error> {
    let ways = of_client(gateway, client).await?;
    if ways.is_empty() {
        return desk.line("It has no mapping, and is closed.");
    }
    desk.list(ways, WAYS)
}

fn id(thing: &Value) -> String {
    field(thing, "id").to_owned()
}

/// In the order in which they are tried, with names.
async fn of_client(gateway: &Gateway, client: &Value) -> Result<Vec<Value>, Error> {
    let query = [("client_id", Some(id(client))), ("sort", Some("priority".to_owned()))];
    let found = gateway.all(PATH, &query, usize::MAX).await?;
    with_names(gateway, found).await
}

/// The API tells ids; people, and scripts that write for people, want names beside them.
async fn with_names(gateway: &Gateway, mut mappings: Vec<Value>) -> Result<Vec<Value>, Error> {
    if mappings.is_empty() {
        return Ok(mappings);
    }
    let clients = named(gateway, CLIENT.path, &mappings, "client_id").await?;
    let proxies = named(gateway, PROXY.path, &mappings, "proxy_id").await?;
    for mapping in &mut mappings {
        let client = clients.iter().find(|client| field(client, "id") == field(mapping, "client_id"));
        let proxy = proxies.iter().find(|proxy| field(proxy, "id") == field(mapping, "proxy_id"));
        let told = |thing: Option<&Value>, name: &str| thing.and_then(|thing| thing.get(name)).cloned();
        let (name, ip, proxy) = (told(client, "name"), told(client, "ip_cidr"), told(proxy, "name"));
        if let Some(fields) = mapping.as_object_mut() {
            fields.insert("client".to_owned(), json!(name));
            fields.insert("ip_cidr".to_owned(), json!(ip));
            fields.insert("proxy".to_owned(), json!(proxy));
        }
    }
    Ok(mappings)
}

/// Those that the mappings are about: one by one if they are few, else the whole list.
async fn named(gateway: &Gateway, path: &str, mappings: &[Value], by: &str) -> Result<Vec<Value>, Error> {
    const FEW: usize = 5;
    let mut ids: Vec<&str> = mappings.iter().map(|mapping| field(mapping, by)).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.len() > FEW {
        return gateway.all(path, &[], usize::MAX).await;
    }
    let mut found = Vec::new();
    for id in ids {
        match gateway.get(&format!("{path}/{}", crate::gateway::encoded(id))).await {
            Ok(thing) => found.push(thing),
            // It went meanwhile, and its mapping is going.
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}
