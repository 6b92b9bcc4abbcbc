//! `pgw webhook`: who is told of events.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;

use super::token::tell_once;
use super::{Fields, Switch, only};
use crate::desk::Desk;
use crate::error::Error;
use crate::gateway::{Gateway, field};
use crate::named::{Noun, nothing_else};
use crate::secret;
use crate::table::{Column, list, text, time, yes_no};
use crate::words::plain;

const WEBHOOK: Noun =
    Noun { word: "webhook", path: "/v1/webhooks", searched: false, single: true, also: nothing_else };

const LIST: &[Column] = &[
    text("NAME", "/name"),
    yes_no("ON", "/enabled"),
    list("KINDS", "/kinds"),
    text("WAITING", "/status/waiting"),
    time("FAILING", "/status/failing_since"),
    text("LAST ERROR", "/status/last_error"),
];

const SHEET: &[Column] = &[
    text("NAME", "/name"),
    text("ID", "/id"),
    text("URL", "/url"),
    yes_no("ON", "/enabled"),
    list("KINDS", "/kinds"),
    text("WAITING", "/status/waiting"),
    text("GIVEN UP", "/status/given_up"),
    time("LAST OK", "/status/last_ok_at"),
    time("FAILING", "/status/failing_since"),
    text("LAST ERROR", "/status/last_error"),
    time("CREATED", "/created_at"),
];

const TRIED: &[Column] = &[
    yes_no("TAKEN", "/delivered"),
    text("STATUS", "/status"),
    text("ERROR", "/error"),
    text("TOOK MS", "/took_ms"),
];

#[derive(Subcommand)]
pub(crate) enum Webhook {
    /// Shows all of them, and how they are taken
    #[command(visible_alias = "ls")]
    List,
    /// Shows one
    Show { webhook: String },
    /// Adds one and writes its secret, once, to standard output
    Add {
        name: String,
        /// Where it is told; - reads it from standard input, as it may be a secret in itself
        #[arg(value_name = "URL")]
        to: String,
        /// Such as client.exit or drift; may be said several times, and without it all are told
        #[arg(long = "kind", value_name = "KIND")]
        kinds: Vec<String>,
    },
    /// Changes one; what is not said stays
    Edit(Edit),
    /// Removes some
    Rm {
        #[arg(required = true)]
        webhooks: Vec<String>,
    },
    /// Sends it one message and says how it was taken
    Test { webhook: String },
}

#[derive(Args)]
pub(crate) struct Edit {
    webhook: String,
    /// Another name
    #[arg(long)]
    name: Option<String>,
    /// Another address; - reads it from standard input
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// These kinds instead, or all; may be said several times
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    #[command(flatten)]
    switch: Switch,
}

impl Webhook {
    pub(crate) async fn run(self, gateway: &Gateway, desk: &mut Desk) -> Result<(), Error> {
        match self {
            Self::List => desk.list(gateway.whole(WEBHOOK.path).await?, LIST),
            Self::Show { webhook } => WEBHOOK.show(gateway, desk, &webhook, SHEET).await,
            Self::Add { name, to, kinds } => {
                let mut fields = Fields::default();
                fields
                    .set("name", Some(name))
                    .set("url", Some(address(desk, to)?))
                    .set("kinds", only(kinds, Value::from));
                let made = gateway.post(WEBHOOK.path, &fields.into_new()).await?;
                let sentence = format!(
                    "{} is added; this checks its signatures, and is shown once:",
                    WEBHOOK.called(&made)
                );
                tell_once(desk, &made, "secret", &sentence)
            }
            Self::Edit(edit) => {
                let url = edit.to.map(|url| address(desk, url)).transpose()?;
                let mut fields = Fields::default();
                fields
                    .set("name", edit.name)
                    .set("url", url)
                    .set("kinds", only(edit.kinds, Value::from))
                    .set("enabled", edit.switch.wanted());
                WEBHOOK.change(gateway, desk, &edit.webhook, fields).await
            }
            Self::Rm { webhooks } => WEBHOOK.remove(gateway, desk, &webhooks, false).await,
            Self::Test { webhook } => test(gateway, desk, &webhook).await,
        }
    }
}

async fn test(gateway: &Gateway, desk: &mut Desk, word: &str) -> Result<(), Error> {
    let webhook = WEBHOOK.find(gateway, word).await?;
    desk.progress(&format!("telling {} …", plain(field(&webhook, "name"))));
    let tried = gateway.call(Method::POST, &WEBHOOK.at(&webhook, "test")).value().await;
    desk.progress("");
    let tried = tried?;
    desk.thing(&tried, TRIED)?;
    let taken = tried.get("delivered").and_then(Value::as_bool).unwrap_or_default();
    if taken { Ok(()) } else { Err(Error::Shown) }
}

fn address(desk: &mut Desk, url: String) -> Result<String, Error> {
    if url != "-" {
        return Ok(url);
    }
    Ok(secret::ask(desk, "url", None)?.expose().to_owned())
}
