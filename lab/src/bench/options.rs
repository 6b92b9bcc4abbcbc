//! What the person at the terminal asked for.

use anyhow::{Context as _, Result, bail};

pub const USAGE: &str = "pgw-lab bench fwd|agent|api|tunnel [--quick] [--only <word>] [--repeat <number>]";

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Fwd,
    Agent,
    Api,
    Tunnel,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) subject: Subject,
    /// Does everything for a moment, to see that it works.
    pub(crate) quick: bool,
    /// Measures only what has this word in its name, beside what it is compared with.
    pub(crate) only: Option<String>,
    pub(crate) repeat: usize,
}

impl Options {
    pub(crate) fn read(words: &[String]) -> Result<Self> {
        let mut words = words.iter().map(String::as_str);
        let subject = match words.next() {
            Some("fwd") => Subject::Fwd,
            Some("agent") => Subject::Agent,
            Some("api") => Subject::Api,
            Some("tunnel") => Subject::Tunnel,
            Some(_) | None => bail!("{USAGE}"),
        };
        let mut options = Self { subject, quick: false, only: None, repeat: 0 };
        while let Some(word) = words.next() {
            match word {
                "--quick" => options.quick = true,
                "--only" => options.only = Some(words.next().context("--only needs a word")?.to_lowercase()),
                "--repeat" => {
                    let number = words.next().and_then(|number| number.parse().ok());
                    options.repeat = number
                        .filter(|n| (1..=100).contains(n))
                        .context("--repeat needs a number from 1 to 100")?;
                }
                other => bail!("{other:?} is not known: {USAGE}"),
            }
        }
        if options.repeat == 0 {
            options.repeat = if options.quick { 1 } else { 5 };
        }
        Ok(options)
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|word| name.to_lowercase().contains(word))
    }

    /// Nothing was left out, so that the numbers may be shown to others.
    pub(crate) fn whole(&self) -> bool {
        !self.quick && self.only.is_none() && self.repeat >= 5
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options> {
        Options::read(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_run_that_leaves_something_out_is_not_shown_to_others() {
        for (line, whole) in [
            ("fwd", true),
            ("fwd --repeat 7", true),
            ("fwd --repeat 3", false),
            ("fwd --quick", false),
            ("fwd --only redsocks", false),
            ("agent", true),
            ("agent --quick", false),
            ("api", true),
        ] {
            assert_eq!(read(line).unwrap().whole(), whole, "{line}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in [
            "",
            "lan",
            "agent --fast",
            "fwd --fast",
            "fwd --repeat",
            "fwd --repeat 0",
            "fwd --repeat x",
            "fwd --only",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
        assert!(read("fwd --only HAProxy").unwrap().wants("HAProxy, splice"));
    }
}
