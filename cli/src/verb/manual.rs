//! `pgw completions` and `pgw man`: made from what can be typed, so that they are never behind it.

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man as Page;
use clap_mangen::roff::{Roff, bold, roman};

use crate::args::Arguments;
use crate::desk::Desk;
use crate::error::{CODES, Error};

/// Where tokens come from, in this order.
const TOKENS: &str = "The first that there is: the file of --token-file, the variable PGW_TOKEN, \
    $XDG_CONFIG_HOME/pgw/token (written by pgw login), and, for a gateway on this machine only, admin.token in \
    PGW_STATE_DIR, which root may read. A token is never an argument: those are for all to see.";
const VARIABLES: &[(&str, &str)] = &[
    (
        "PGW_URL",
        "Where the gateway is, as --url. If neither is said: PGW_API_URL, also as /etc/pgw has it for a gateway on this machine; else http://127.0.0.1:8080.",
    ),
    ("PGW_AGENT_URL", "Where its agent is, as --agent-url; http://127.0.0.1:9090 if neither is said."),
    ("PGW_TOKEN", "A token."),
    ("PGW_STATE_DIR", "Of a gateway on this machine; /var/lib/pgw if it is not said."),
    ("NO_COLOR", "If it is not empty, nothing has a colour."),
];

#[derive(Args)]
pub(crate) struct Completions {
    shell: Written,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Written {
    Bash,
    Zsh,
    Fish,
}

#[derive(Args)]
pub(crate) struct Man {
    /// Into this folder
    folder: PathBuf,
}

impl Completions {
    pub(crate) fn write(&self, desk: &mut Desk) -> Result<(), Error> {
        let shell = match self.shell {
            Written::Bash => Shell::Bash,
            Written::Zsh => Shell::Zsh,
            Written::Fish => Shell::Fish,
        };
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut Arguments::command(), "pgw", &mut text);
        Ok(desk.out.write_all(&text)?)
    }
}

impl Man {
    /// A page for the whole, and one for each command.
    pub(crate) fn write(&self) -> Result<(), Error> {
        let written = pages().and_then(|pages| {
            fs::create_dir_all(&self.folder)?;
            pages.iter().try_for_each(|(name, page)| fs::write(self.folder.join(name), page))
        });
        written
            .map_err(|error| Error::Failed(format!("{} cannot be written: {error}", self.folder.display())))
    }
}

fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut command = Arguments::command();
    command.build();
    let mut pages = Vec::new();
    below(&command, "pgw", &mut pages)?;
    Ok(pages)
}

fn below(command: &clap::Command, name: &str, pages: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    let page = Page::new(command.clone().after_help(None)).manual("pgw").source("").date("");
    let mut text = Vec::new();
    page.render(&mut text)?;
    if name == "pgw" {
        whole(&mut text)?;
    }
    pages.push((format!("{name}.1"), text));
    for one in command.get_subcommands().filter(|one| !one.is_hide_set() && one.get_name() != "help") {
        below(one, &format!("{name}-{}", one.get_name()), pages)?;
    }
    Ok(())
}

/// What concerns all commands.
fn whole(text: &mut Vec<u8>) -> io::Result<()> {
    let mut roff = Roff::new();
    roff.control("SH", ["TOKENS"]).text([roman(TOKENS)]);
    roff.control("SH", ["ENVIRONMENT"]);
    for (name, meaning) in VARIABLES {
        roff.control("TP", []).text([bold(*name)]).text([roman(*meaning)]);
    }
    roff.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in CODES {
        roff.control("TP", []).text([bold(code.to_string())]).text([roman(*meaning)]);
    }
    roff.control("SH", ["SEE ALSO"])
        .text([roman("pgw-api(8), pgw-agent(8), /usr/share/doc/pgw/operations.md")]);
    roff.to_writer(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_page_for_the_whole_and_one_for_each_command_and_no_page_tells_of_what_is_hidden() {
        let pages = pages().unwrap();
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        for wanted in ["pgw.1", "pgw-map.1", "pgw-map-add.1", "pgw-proxy-import.1", "pgw-doctor.1"] {
            assert!(names.contains(&wanted), "{wanted}: {names:?}");
        }
        assert!(!names.contains(&"pgw-man.1"), "{names:?}");
        let whole = String::from_utf8(pages[0].1.clone()).unwrap();
        for (code, meaning) in CODES {
            assert!(whole.contains(&format!("\\fB{code}\\fR\n{}", &meaning[..10])), "{code}: {whole}");
        }
        assert!(whole.contains("PGW_TOKEN") && !whole.contains("\\-man"), "{whole}");
    }

    #[test]
    fn each_shell_has_completions_for_each_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "pgw", &mut text);
            let text = String::from_utf8(text).unwrap();
            for word in ["explain", "tunnel-client", "confirm-within"] {
                assert!(text.contains(word), "{shell}: {word}");
            }
        }
    }
}
