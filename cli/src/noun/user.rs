//! `pgw user`: people, who log in with a password.

use clap::{Args, Subcommand};

use super::token::Role;
use super::{Fields, ListArgs};
use crate::desk::Desk;
use crate::error::Error;
use crate::gateway::Gateway;
use crate::named::{Noun, nothing_else};
use crate::secret;
use crate::table::{Column, text, time};

const USER: Noun = Noun { word: "user", path: "/v1/users", searched: true, single: true, also: nothing_else };

const LIST: &[Column] = &[
    text("NAME", "/name"),
    text("ROLE", "/role"),
    time("LAST LOGIN", "/last_login_at"),
    time("CREATED", "/created_at"),
    text("ID", "/id"),
];

#[derive(Subcommand)]
pub(crate) enum User {
    /// Shows all of them
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Adds one; the password is asked for, or read from standard input
    Add {
        name: String,
        /// viewer reads, operator changes clients and mappings as well, admin does everything
        #[arg(long, value_enum, default_value = "viewer")]
        role: Role,
    },
    /// Changes one; another role or password ends all of their sessions
    Edit(Edit),
    /// Removes some
    Rm {
        #[arg(required = true)]
        users: Vec<String>,
    },
}

#[derive(Args)]
pub(crate) struct Edit {
    user: String,
    /// Another name
    #[arg(long)]
    name: Option<String>,
    /// Another role
    #[arg(long, value_enum)]
    role: Option<Role>,
    /// Asks for another password, or reads it from standard input
    #[arg(long)]
    password: bool,
}

impl User {
    pub(crate) async fn run(self, gateway: &Gateway, desk: &mut Desk) -> Result<(), Error> {
        match self {
            Self::List(args) => USER.list(gateway, desk, &args, LIST).await,
            Self::Add { name, role } => {
                let password = secret::ask(desk, "password", None)?;
                let mut fields = Fields::default();
                fields
                    .set("name", Some(name))
                    .set("role", Some(role.word()))
                    .secret("password", Some(&password));
                let made = gateway.post(USER.path, &fields.into_new()).await?;
                desk.done(&made, &format!("{} is added", USER.called(&made)))
            }
            Self::Edit(edit) => {
                let password = if edit.password { Some(secret::ask(desk, "password", None)?) } else { None };
                let mut fields = Fields::default();
                fields.set("name", edit.name).set("role", edit.role.map(Role::word));
                fields.secret("password", password.as_ref());
                USER.change(gateway, desk, &edit.user, fields).await
            }
            Self::Rm { users } => USER.remove(gateway, desk, &users, false).await,
        }
    }
}
