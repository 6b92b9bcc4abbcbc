//! A file per kind of thing that the API has lists of, and what they have in common.

pub(crate) mod client;
pub(crate) mod connection;
mod lines;
pub(crate) mod mapping;
pub(crate) mod member;
pub(crate) mod proxy;
pub(crate) mod token;
pub(crate) mod tunnel;
pub(crate) mod tunnel_client;
pub(crate) mod user;
pub(crate) mod webhook;

use std::convert::Infallible;
use std::path::PathBuf;

use clap::Args;
use pgw_core::redact::Secret;
use serde_json::{Map, Value};

use crate::desk::Desk;
use crate::error::Error;
use crate::gateway::{Gateway, field};
use crate::named::Noun;
use crate::secret;
use crate::table::Column;
use crate::words::plain;

#[derive(Args)]
pub(crate) struct ListArgs {
    /// Only those with this in their name, address or note
    #[arg(short = 's', long, value_name = "TEXT")]
    pub(crate) search: Option<String>,
    /// In this order, such as name, or -name for the other way round
    #[arg(long, value_name = "FIELD", allow_hyphen_values = true)]
    pub(crate) sort: Option<String>,
    /// No more than this
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,
}

/// On or off, or as it was.
#[derive(Args)]
pub(crate) struct Switch {
    /// Switches it on
    #[arg(long, conflicts_with = "disable")]
    enable: bool,
    /// Switches it off; it stays in the list
    #[arg(long)]
    disable: bool,
}

#[derive(Args)]
pub(crate) struct PasswordArgs {
    /// Asks for the password, or reads it from standard input
    #[arg(long, conflicts_with = "password_file")]
    password: bool,
    /// Reads the password from this file's first line
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// What takes away what there is.
pub(crate) const NONE: &str = "none";

/// A bound, or `none`.
pub(crate) fn bound(text: &str) -> Result<Value, String> {
    if text == NONE {
        return Ok(Value::Null);
    }
    text.parse::<u64>().map(Value::from).map_err(|_no_number| "a number, or none".to_owned())
}

/// A word, or `none`.
pub(crate) fn word(text: &str) -> Result<Value, Infallible> {
    Ok(if text == NONE { Value::Null } else { text.into() })
}

/// Which ones, of what is not bounded as long as none is named: `all` bounds it no more.
pub(crate) fn only(words: Vec<String>, read: impl Fn(String) -> Value) -> Option<Value> {
    match words.as_slice() {
        [] => None,
        [all] if all == "all" => Some(Value::Array(Vec::new())),
        _ => Some(words.into_iter().map(read).collect()),
    }
}

/// What is sent: only what was said.
#[derive(Default)]
pub(crate) struct Fields(Map<String, Value>);

impl ListArgs {
    pub(crate) fn most(&self) -> usize {
        self.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
    }

    pub(crate) fn query(&self) -> [(&'static str, Option<String>); 2] {
        [("q", self.search.clone()), ("sort", self.sort.clone())]
    }
}

impl Switch {
    pub(crate) fn wanted(&self) -> Option<bool> {
        (self.enable || self.disable).then_some(self.enable)
    }
}

impl PasswordArgs {
    pub(crate) fn read(&self, desk: &mut Desk) -> Result<Option<Secret>, Error> {
        match &self.password_file {
            Some(file) => secret::ask(desk, "password", Some(file)).map(Some),
            None if self.password => secret::ask(desk, "password", None).map(Some),
            None => Ok(None),
        }
    }
}

impl Fields {
    pub(crate) fn set(&mut self, name: &str, value: Option<impl Into<Value>>) -> &mut Self {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value.into());
        }
        self
    }

    pub(crate) fn secret(&mut self, name: &str, value: Option<&Secret>) -> &mut Self {
        self.set(name, value.map(Secret::expose))
    }

    pub(crate) fn into_new(self) -> Value {
        Value::Object(self.0)
    }

    pub(crate) fn into_changes(self) -> Result<Value, Error> {
        if self.0.is_empty() {
            return Err(Error::Usage("nothing is said to be changed; see --help".to_owned()));
        }
        Ok(Value::Object(self.0))
    }
}

impl Noun {
    pub(crate) async fn list(
        &self,
        gateway: &Gateway,
        desk: &mut Desk,
        args: &ListArgs,
        columns: &[Column],
    ) -> Result<(), Error> {
        let found = gateway.all(self.path, &args.query(), args.most()).await?;
        desk.list(found, columns)
    }

    pub(crate) async fn show(
        &self,
        gateway: &Gateway,
        desk: &mut Desk,
        word: &str,
        columns: &[Column],
    ) -> Result<(), Error> {
        let thing = self.find(gateway, word).await?;
        desk.thing(&thing, columns)
    }

    pub(crate) async fn change(
        &self,
        gateway: &Gateway,
        desk: &mut Desk,
        word: &str,
        fields: Fields,
    ) -> Result<(), Error> {
        let changes = fields.into_changes()?;
        let thing = self.find(gateway, word).await?;
        let now = gateway.change(self.path, &thing, &changes).await?;
        desk.done(&now, &format!("{} is changed", self.called(&now)))
    }

    /// All are found before the first goes: a name that is mistyped removes nothing.
    pub(crate) async fn remove(
        &self,
        gateway: &Gateway,
        desk: &mut Desk,
        words: &[String],
        cascade: bool,
    ) -> Result<(), Error> {
        let things = self.find_all(gateway, words).await?;
        for thing in &things {
            let answer = gateway.remove(self.path, thing, cascade).await?;
            let told = match field(&answer, "detail") {
                "" => format!("{} is removed", self.called(thing)),
                goes_on => format!("{}: {}", self.called(thing), plain(goes_on)),
            };
            if !desk.is_script() {
                desk.line(&told)?;
            }
        }
        if desk.is_script() { desk.value(&Value::Array(things)) } else { Ok(()) }
    }

    pub(crate) fn called(&self, thing: &Value) -> String {
        let name = field(thing, "name");
        format!("{} {}", self.word, plain(if name.is_empty() { field(thing, "id") } else { name }))
    }
}
