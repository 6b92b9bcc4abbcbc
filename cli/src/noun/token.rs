//! `pgw token`: what programs come with.

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::error::Error;
use crate::gateway::{Gateway, field};
use crate::named::{Noun, nothing_else};
use crate::table::{Column, text, time};

const TOKEN: Noun =
    Noun { word: "token", path: "/v1/tokens", searched: false, single: false, also: nothing_else };

const LIST: &[Column] = &[
    text("NAME", "/name"),
    text("ROLE", "/role"),
    time("CREATED", "/created_at"),
    time("REVOKED", "/revoked_at"),
    text("ID", "/id"),
];

/// Each may do what those before it may.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Role {
    Viewer,
    Operator,
    Admin,
}

#[derive(Subcommand)]
pub(crate) enum Token {
    /// Shows all of them, never their text
    #[command(visible_alias = "ls")]
    List,
    /// Makes one and writes its text, once, to standard output
    Add {
        /// Whose it is
        name: String,
        /// viewer reads, operator changes clients and mappings as well, admin does everything
        #[arg(long, value_enum, default_value = "viewer")]
        role: Role,
    },
    /// Revokes some: they open nothing from now on
    #[command(visible_alias = "revoke")]
    Rm {
        #[arg(required = true)]
        tokens: Vec<String>,
    },
}

impl Role {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl Token {
    pub(crate) async fn run(self, gateway: &Gateway, desk: &mut Desk) -> Result<(), Error> {
        match self {
            Self::List => desk.list(gateway.whole(TOKEN.path).await?, LIST),
            Self::Add { name, role } => {
                let made = gateway.post(TOKEN.path, &json!({"name": name, "role": role.word()})).await?;
                tell_once(
                    desk,
                    &made,
                    "token",
                    &format!("{} is made; it is shown this once:", TOKEN.called(&made)),
                )
            }
            Self::Rm { tokens } => TOKEN.remove(gateway, desk, &tokens, false).await,
        }
    }
}

/// A secret stands alone on standard output, for a file or another program.
pub(super) fn tell_once(desk: &mut Desk, made: &Value, secret: &str, sentence: &str) -> Result<(), Error> {
    if desk.is_script() {
        return desk.value(made);
    }
    desk.note(sentence);
    desk.line(field(made, secret))
}
