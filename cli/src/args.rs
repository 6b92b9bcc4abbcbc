//! What can be typed. The manual pages and the completions are made from this.

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};
use pgw_core::settings::Source;

use crate::desk::{Desk, Format};
use crate::doctor::{self, Doctor};
use crate::error::Error;
use crate::gateway::Gateway;
use crate::installed::{FOLDER, Installed};
use crate::noun::client::Client;
use crate::noun::connection::Connections;
use crate::noun::mapping::Map;
use crate::noun::member::Member;
use crate::noun::proxy::Proxy;
use crate::noun::token::Token;
use crate::noun::tunnel::Tunnel;
use crate::noun::tunnel_client::TunnelClient;
use crate::noun::user::User;
use crate::noun::webhook::Webhook;
use crate::place::Place;
use crate::verb::check::Check;
use crate::verb::document::{Apply, Confirm, Export, Plan};
use crate::verb::events::Events;
use crate::verb::explain::Explain;
use crate::verb::journal::Journal;
use crate::verb::manual::{Completions, Man};
use crate::verb::program::{Backup, Restore};
use crate::verb::top::Top;
use crate::verb::{drill, login, status};

/// Runs an egress gateway: each device of the LAN its own upstream proxy, or no internet at all
#[derive(Parser)]
#[command(
    name = "pgw",
    version,
    disable_help_subcommand = true,
    after_help = "Things are named by their name, address or id. Exit codes are in pgw(1)."
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args, Default)]
pub(crate) struct Global {
    /// Where the gateway is (PGW_URL) [default: http://127.0.0.1:8080]
    #[arg(long, global = true, value_name = "URL", help_heading = "Gateway")]
    pub(crate) url: Option<String>,
    /// Where its agent is, for drill (PGW_AGENT_URL); from elsewhere, pgw-ui [default: http://127.0.0.1:9090]
    #[arg(long, global = true, value_name = "URL", help_heading = "Gateway")]
    pub(crate) agent_url: Option<String>,
    /// A file with a token, before PGW_TOKEN, ~/.config/pgw/token and the gateway's own admin.token
    #[arg(long, global = true, value_name = "FILE", help_heading = "Gateway")]
    pub(crate) token_file: Option<PathBuf>,
    /// As a table for people, or as data for scripts: what the API says, a list as an array
    #[arg(short, long, global = true, value_enum, default_value = "table", help_heading = "Gateway")]
    pub(crate) output: Format,
}

#[derive(Subcommand)]
enum Command {
    /// Tells whether all is well, and what is not
    Status,
    /// Upstream proxies
    #[command(subcommand)]
    Proxy(Proxy),
    /// Registered devices
    #[command(subcommand)]
    Client(Client),
    /// Lets a device out by proxies, the first that works: pgw map 192.168.2.3 de1 nl2
    Map(Map),
    /// Has proxies checked now
    Check(Check),
    /// Tells why a device gets out, or does not
    Explain(Explain),
    /// Has a closed device of the gateway's own try every way out
    Drill,
    /// Shows what happens, as it happens
    Events(Events),
    /// Shows what happened, or where a device got out at a time
    Journal(Journal),
    /// Shows what moves, by device, until it is ended
    Top(Top),
    /// Shows what is open, and ends it
    Connections(Connections),
    /// Tells what applying a document would do
    Plan(Plan),
    /// Makes a document true
    Apply(Apply),
    /// Keeps what was applied with --confirm-within
    Confirm(Confirm),
    /// Writes the whole configuration as a document
    Export(Export),
    /// Writes all that is in the database to a file; on the gateway itself
    Backup(Backup),
    /// Makes the database what a file says; on the gateway itself
    Restore(Restore),
    /// What programs come with
    #[command(subcommand)]
    Token(Token),
    /// People who log in
    #[command(subcommand)]
    User(User),
    /// Who is told of events
    #[command(subcommand)]
    Webhook(Webhook),
    /// The gateways that share a database
    #[command(subcommand)]
    Gateway(Member),
    /// What tunnel clients offer by this gateway's ports
    #[command(subcommand)]
    Tunnel(Tunnel),
    /// Machines elsewhere that have tunnels to this gateway
    #[command(subcommand)]
    TunnelClient(TunnelClient),
    /// Looks for what is wrong with this machine as a gateway, and tells how to make it right
    Doctor(Doctor),
    /// Keeps a token for later; it is asked for, or read from standard input
    Login,
    /// Forgets the token that login keeps
    Logout,
    /// Tells as whom the gateway knows whoever asks
    Whoami,
    /// Writes completions for a shell
    Completions(Completions),
    #[command(hide = true)]
    Man(Man),
}

impl Arguments {
    pub(crate) async fn run(self, source: &dyn Source, desk: &mut Desk) -> Result<(), Error> {
        let Self { global, command } = self;
        let here = match command {
            Command::Completions(shell) => return shell.write(desk),
            Command::Man(folder) => return folder.write(),
            Command::Backup(backup) => return backup.run(desk).await,
            Command::Restore(restore) => return restore.run(desk).await,
            Command::Login => {
                let settings = Installed::read(Path::new(FOLDER), "pgw-api", source);
                return login::login(&global, &settings, desk).await;
            }
            Command::Logout => return login::logout(source, desk),
            Command::Doctor(doctor) => return doctor::run(&doctor, &global, source, desk).await,
            asks => asks,
        };
        let gateway = connect(&global, source, desk)?;
        here.ask(&gateway, desk).await
    }
}

/// Nothing is sent yet.
fn connect(global: &Global, source: &dyn Source, desk: &mut Desk) -> Result<Gateway, Error> {
    let place = Place::find(global, &Installed::read(Path::new(FOLDER), "pgw-api", source))?;
    if let Some(token) = place.token.as_ref().filter(|token| token.is_open) {
        desk.note(&format!("pgw: {} can be read by others; chmod 600 it", token.from));
    }
    Gateway::new(place)
}

impl Command {
    async fn ask(self, gateway: &Gateway, desk: &mut Desk) -> Result<(), Error> {
        match self {
            Self::Status => status::run(gateway, desk).await,
            Self::Proxy(proxy) => Box::pin(proxy.run(gateway, desk)).await,
            Self::Client(client) => Box::pin(client.run(gateway, desk)).await,
            Self::Map(map) => Box::pin(map.run(gateway, desk)).await,
            Self::Check(check) => check.run(gateway, desk).await,
            Self::Explain(explain) => explain.run(gateway, desk).await,
            Self::Drill => drill::run(gateway, desk).await,
            Self::Events(events) => Box::pin(events.run(gateway, desk)).await,
            Self::Journal(journal) => journal.run(gateway, desk).await,
            Self::Top(top) => Box::pin(top.run(gateway, desk)).await,
            Self::Connections(connections) => Box::pin(connections.run(gateway, desk)).await,
            Self::Plan(plan) => plan.run(gateway, desk).await,
            Self::Apply(apply) => apply.run(gateway, desk).await,
            Self::Confirm(confirm) => confirm.run(gateway, desk).await,
            Self::Export(export) => export.run(gateway, desk).await,
            Self::Token(token) => Box::pin(token.run(gateway, desk)).await,
            Self::User(user) => Box::pin(user.run(gateway, desk)).await,
            Self::Webhook(webhook) => Box::pin(webhook.run(gateway, desk)).await,
            Self::Gateway(member) => member.run(gateway, desk).await,
            Self::Tunnel(tunnel) => Box::pin(tunnel.run(gateway, desk)).await,
            Self::TunnelClient(client) => Box::pin(client.run(gateway, desk)).await,
            Self::Whoami => login::whoami(gateway, desk).await,
            // These ask no gateway, and were done before.
            Self::Doctor(_)
            | Self::Login
            | Self::Logout
            | Self::Completions(_)
            | Self::Man(_)
            | Self::Backup(_)
            | Self::Restore(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_command_and_every_option_can_be_parsed_and_has_a_line_of_help() {
        let mut command = Arguments::command();
        command.build();
        command.clone().debug_assert();
        check(&command, "pgw");
    }

    /// clap would give one's value to the other, and say nothing.
    #[test]
    fn no_command_has_an_option_of_its_own_by_the_name_of_one_that_all_have() {
        let command = Arguments::command();
        let ids: Vec<&str> = command.get_arguments().map(|shared| shared.get_id().as_str()).collect();
        assert!(ids.contains(&"url"), "{ids:?}");
        differs(&command, &ids, "pgw");
    }

    fn differs(command: &clap::Command, ids: &[&str], path: &str) {
        for below in command.get_subcommands() {
            let path = format!("{path} {}", below.get_name());
            for argument in below.get_arguments() {
                assert!(!ids.contains(&argument.get_id().as_str()), "{path}: {}", argument.get_id());
            }
            differs(below, ids, &path);
        }
    }

    fn check(command: &clap::Command, path: &str) {
        assert!(command.get_about().is_some() || command.is_hide_set(), "{path} says nothing of itself");
        for argument in command.get_arguments() {
            // What a command is about is said by its name.
            let is_said = argument.is_positional() || argument.get_help().is_some();
            assert!(is_said, "{path}: {} says nothing of itself", argument.get_id());
        }
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            check(below, &format!("{path} {}", below.get_name()));
        }
    }

    #[test]
    fn one_line_maps_a_device_and_words_of_the_command_stay_words_of_the_command() {
        for (line, want) in [
            ("pgw map 192.168.2.3 de1", true),
            ("pgw map tv de1 nl2 --only --wait 0s", true),
            ("pgw map add list de1", true),
            ("pgw map list --state failed", true),
            ("pgw map rm tv de1", true),
            ("pgw map tv", false),
            ("pgw map", false),
            ("pgw tunnel add web nas tcp --to 80", true),
            ("pgw tunnel add web nas tcp", false),
            ("pgw tunnel edit web --port 12001", true),
            ("pgw connections", true),
            ("pgw connections close 15001-7", true),
            ("pgw connections close", false),
            ("pgw -o json proxy list", true),
            ("pgw proxy list -o yaml --url http://gw:8080", true),
            ("pgw --token abc status", false),
            ("pgw proxy add de1 socks5://proxy:1080 --password secret", false),
        ] {
            assert_eq!(Arguments::try_parse_from(line.split(' ')).is_ok(), want, "{line}");
        }
    }
}
