//! `pgw proxy`: upstream proxies.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use pgw_core::proxy::{ProxyAddress, Scheme};
use reqwest::Method;
use serde_json::{Map, Value};

use super::{Fields, ListArgs, NONE, PasswordArgs, Switch, lines};
use crate::desk::Desk;
use crate::error::Error;
use crate::file;
use crate::gateway::{Gateway, field};
use crate::named::Noun;
use crate::secret;
use crate::table::{Column, millis, state, text, time, yes_no};

pub(crate) const PROXY: Noun = Noun {
    word: "proxy",
    path: "/v1/proxies",
    searched: true,
    single: true,
    also: |proxy| {
        let host = field(proxy, "host").to_owned();
        let port = proxy.get("port").map(Value::to_string).unwrap_or_default();
        vec![format!("{host}:{port}"), host]
    },
};

const LIST: &[Column] = &[
    text("NAME", "/name"),
    text("SCHEME", "/scheme"),
    text("HOST", "/host"),
    text("PORT", "/port"),
    yes_no("ON", "/enabled"),
    state("HEALTH", "/health/status"),
    millis("LATENCY", "/health/latency_ms"),
    text("EXIT", "/health/exit_ip"),
    time("CHECKED", "/health/checked_at"),
    text("ERROR", "/health/error"),
];

const SHEET: &[Column] = &[
    text("NAME", "/name"),
    text("ID", "/id"),
    text("SCHEME", "/scheme"),
    text("HOST", "/host"),
    text("PORT", "/port"),
    text("USERNAME", "/username"),
    yes_no("PASSWORD", "/has_password"),
    yes_no("ON", "/enabled"),
    text("LABELS", "/labels"),
    text("NOTE", "/note"),
    state("HEALTH", "/health/status"),
    millis("LATENCY", "/health/latency_ms"),
    text("EXIT", "/health/exit_ip"),
    time("CHECKED", "/health/checked_at"),
    text("ERROR", "/health/error"),
    time("CREATED", "/created_at"),
    time("UPDATED", "/updated_at"),
];

#[derive(Subcommand)]
pub(crate) enum Proxy {
    /// Shows all of them, with their health
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Shows one
    Show { proxy: String },
    /// Adds one
    Add(Add),
    /// Changes one; what is not said stays
    Edit(Edit),
    /// Removes some
    Rm {
        #[arg(required = true)]
        proxies: Vec<String>,
        /// With their mappings
        #[arg(long)]
        cascade: bool,
    },
    /// Adds those of a seller's list, one for each line
    Import(Import),
}

#[derive(Args)]
pub(crate) struct Add {
    /// What it is to be called
    name: String,
    /// As socks5://user@host:1080 or host:3128; - reads it from standard input, where it may hold the password
    address: String,
    /// What an address without one is: http, https or socks5
    #[arg(long, default_value = "http")]
    scheme: String,
    #[command(flatten)]
    password: PasswordArgs,
    /// A word about it
    #[arg(long)]
    note: Option<String>,
    /// Such as country=de; may be said several times
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,
    /// Keeps it switched off for now
    #[arg(long)]
    disabled: bool,
}

#[derive(Args)]
pub(crate) struct Edit {
    proxy: String,
    /// Another name
    #[arg(long)]
    name: Option<String>,
    /// http, https or socks5
    #[arg(long)]
    scheme: Option<String>,
    /// Another name or address of the proxy itself
    #[arg(long)]
    host: Option<String>,
    /// Another port of it
    #[arg(long)]
    port: Option<u16>,
    /// Under which it is logged in to
    #[arg(long)]
    username: Option<String>,
    #[command(flatten)]
    password: PasswordArgs,
    /// Without user name and password from now on
    #[arg(long, conflicts_with_all = ["username", "password", "password_file"])]
    no_login: bool,
    /// A word about it
    #[arg(long)]
    note: Option<String>,
    /// These labels instead of those that it has, or none; may be said several times
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,
    #[command(flatten)]
    switch: Switch,
}

#[derive(Args)]
pub(crate) struct Import {
    /// URLs, host:port, host:port:user:pass or user:pass@host:port; - is standard input
    file: PathBuf,
    /// What lines without one are: http, https or socks5
    #[arg(long, default_value = "http")]
    scheme: String,
    /// Tells what would be done
    #[arg(long)]
    dry_run: bool,
}

impl Proxy {
    pub(crate) async fn run(self, gateway: &Gateway, desk: &mut Desk) -> Result<(), Error> {
        match self {
            Self::List(args) => PROXY.list(gateway, desk, &args, LIST).await,
            Self::Show { proxy } => PROXY.show(gateway, desk, &proxy, SHEET).await,
            Self::Add(add) => add.run(gateway, desk).await,
            Self::Edit(edit) => edit.run(gateway, desk).await,
            Self::Rm { proxies, cascade } => PROXY.remove(gateway, desk, &proxies, cascade).await,
            Self::Import(import) => import.run(gateway, desk).await,
        }
    }
}

impl Add {
    async fn run(self, gateway: &Gateway, desk: &mut Desk) -> Result<(), Error> {
        let default: Scheme =
            self.scheme.parse().map_err(|error| Error::Usage(format!("--scheme {error}")))?;
        let address = self.address(desk, default)?;
        let asked = self.password.read(desk)?;
        let login = address.credentials.as_ref();
        let written = login.map(|login| &login.password).filter(|password| !password.expose().is_empty());
        let mut fields = Fields::default();
        fields
            .set("name", Some(self.name))
            .set("scheme", Some(address.scheme.to_string()))
            .set("host", Some(address.host.to_string()))
            .set("port", Some(address.port))
            .set("username", login.map(|login| login.username.clone()))
            .secret("password", asked.as_ref().or(written))
            .set("note", self.note)
            .set("labels", labels(&self.labels)?)
            .set("enabled", self.disabled.then_some(false));
        let made = gateway.post(PROXY.path, &fields.into_new()).await?;
        desk.done(&made, &format!("{} is added; its first check is under way", PROXY.called(&made)))
    }

    fn address(&self, desk: &mut Desk, default: Scheme) -> Result<ProxyAddress, Error> {
        let parse = |text: &str| {
            ProxyAddress::parse(text, default).map_err(|error| Error::Usage(format!("the address {error}")))
        };
        if self.address == "-" {
            return parse(secret::ask(desk, "address", None)?.expose());
        }
        let address = parse(&self.address)?;
        let holds_password = address.credentials.as_ref().is_some_and(|l| !l.password.expose().is_empty());
        if holds_password {
            return Err(Error::Usage(
                "a password on the command line can be read by everybody on this machine: leave it out and say \
                 --password, or say - for the address and give it on standard input"
                    .to_owned(),
            ));
        }
        Ok(address)
    }
}

impl Edit {
    async fn run(self, gateway: &Gateway, desk: &mut Desk) -> Result<(), Error> {
        let password = self.password.read(desk)?;
        let cleared = || self.no_login.then_some(Value::Null);
        let mut fields = Fields::default();
        fields
            .set("name", self.name)
            .set("scheme", self.scheme)
            .set("host", self.host)
            .set("port", self.port)
            .set("username", cleared())
            .set("password", cleared())
            .set("username", self.username)
            .secret("password", password.as_ref())
            .set("note", self.note)
            .set("labels", labels(&self.labels)?)
            .set("enabled", self.switch.wanted());
        PROXY.change(gateway, desk, &self.proxy, fields).await
    }
}

impl Import {
    async fn run(self, gateway: &Gateway, desk: &mut Desk) -> Result<(), Error> {
        let list = file::read_or_input(desk, &self.file)?;
        let call = gateway.call(Method::POST, "/v1/proxies/import").query("scheme", Some(self.scheme));
        let answer = call.flag("dry_run", self.dry_run).body("text/plain", list).value().await?;
        lines::tell(desk, &answer, self.dry_run)
    }
}

fn labels(words: &[String]) -> Result<Option<Value>, Error> {
    let mut labels = Map::new();
    if words == [NONE] {
        return Ok(Some(Value::Object(labels)));
    }
    for word in words {
        let wrong = || Error::Usage(format!("the label {word:?} is not written NAME=VALUE"));
        let (name, value) = word.split_once('=').ok_or_else(wrong)?;
        labels.insert(name.to_owned(), value.into());
    }
    Ok((!labels.is_empty()).then_some(Value::Object(labels)))
}
