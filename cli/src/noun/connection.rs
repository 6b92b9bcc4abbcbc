//! `pgw connections`: what is open now, and ending it.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;

use super::client::CLIENT;
use super::proxy::PROXY;
use crate::desk::Desk;
use crate::error::Error;
use crate::gateway::{Gateway, below, encoded, field};
use crate::table::{Column, millis, size, text};
use crate::words::{plain, plural};

const PATH: &str = "/v1/connections";

const LIST: &[Column] = &[
    text("ID", "/id"),
    text("CLIENT", "/client"),
    text("PROXY", "/proxy"),
    text("NAME", "/name"),
    size("UP", "/bytes_up"),
    size("DOWN", "/bytes_down"),
    millis("AGE", "/age_ms"),
    millis("IDLE", "/idle_ms"),
];

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Connections {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    which: Which,
}

#[derive(Subcommand)]
enum Verb {
    /// Shows what is open (as without `list`)
    #[command(visible_alias = "ls")]
    List(Which),
    /// Ends some
    Close {
        /// Their ids
        #[arg(required_unless_present_any = ["client", "proxy"])]
        ids: Vec<String>,
        /// All of this device
        #[arg(long, conflicts_with = "ids")]
        client: Option<String>,
        /// All through this proxy
        #[arg(long, conflicts_with = "ids")]
        proxy: Option<String>,
    },
}

#[derive(Args)]
struct Which {
    /// Only those with this in the client's name or address, the proxy's name, or the name that was called
    #[arg(short = 's', long, value_name = "TEXT")]
    search: Option<String>,
    /// Only those of this device
    #[arg(long)]
    client: Option<String>,
    /// Only those through this proxy
    #[arg(long)]
    proxy: Option<String>,
    /// No more than this
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

impl Connections {
    pub(crate) async fn run(self, gateway: &Gateway, desk: &mut Desk) -> Result<(), Error> {
        match self.verb {
            None => desk.list(self.which.find(gateway).await?, LIST),
            Some(Verb::List(which)) => desk.list(which.find(gateway).await?, LIST),
            Some(Verb::Close { ids, .. }) if !ids.is_empty() => {
                for id in &ids {
                    gateway.call(Method::DELETE, &format!("{PATH}/{}", encoded(id))).value().await?;
                    if !desk.is_script() {
                        desk.line(&format!("connection {} is closed", plain(id)))?;
                    }
                }
                Ok(())
            }
            Some(Verb::Close { client, proxy, .. }) => {
                let open = Which { search: None, client, proxy, limit: None }.find(gateway).await?;
                let mut closed = 0;
                for connection in &open {
                    match gateway.call(Method::DELETE, &below(PATH, connection)).value().await {
                        Ok(_gone) => closed += 1,
                        // It has ended by itself.
                        Err(error) if error.is_not_found() => {}
                        Err(error) => return Err(error),
                    }
                }
                desk.done(&Value::Array(open), &format!("{} closed", plural(closed, "connection")))
            }
        }
    }
}

impl Which {
    async fn find(&self, gateway: &Gateway) -> Result<Vec<Value>, Error> {
        let mut query = vec![("q", self.search.clone())];
        if let Some(word) = &self.client {
            query.push(("client_id", Some(field(&CLIENT.find(gateway, word).await?, "id").to_owned())));
        }
        if let Some(word) = &self.proxy {
            query.push(("proxy_id", Some(field(&PROXY.find(gateway, word).await?, "id").to_owned())));
        }
        let most = self.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        gateway.all(PATH, &query, most).await
    }
}
