//! What is before the operator: where answers go, in which form, and what is typed.

use std::io::{self, BufRead, IsTerminal as _, Read as _, Write};

use clap::ValueEnum;
use jiff::Timestamp;
use pgw_core::settings::Source;
use serde_json::Value;

use crate::error::Error;
use crate::table::{Column, Look, Table};

/// The largest document that the API takes.
const LARGEST_INPUT: u64 = 16 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    // No lines of help: with them, the help of every command is told at length.
    #[default]
    Table,
    Json,
    Yaml,
}

pub(crate) struct Desk {
    pub(crate) out: Box<dyn Write>,
    pub(crate) err: Box<dyn Write>,
    pub(crate) input: Box<dyn BufRead>,
    pub(crate) format: Format,
    /// None where nobody looks at it live.
    pub(crate) look: Option<Look>,
    /// Somebody can be asked.
    pub(crate) asks: bool,
    /// Progress is seen by somebody.
    pub(crate) watched: bool,
}

impl Desk {
    pub(crate) fn of_this_process(format: Format, source: &dyn Source) -> Self {
        let (out, err, input) = (io::stdout(), io::stderr(), io::stdin());
        let look =
            out.is_terminal().then(|| Look { width: None, height: None, colours: wants_colours(source) });
        let (asks, watched) = (input.is_terminal(), err.is_terminal());
        let input = Box::new(io::BufReader::new(input));
        let mut desk = Self { out: Box::new(out), err: Box::new(err), input, format, look, asks, watched };
        desk.look_again();
        desk
    }

    /// Somebody may have made the window another size.
    pub(crate) fn look_again(&mut self) {
        // A terminal that does not know its size says 0.
        let size = |of: u16| Some(usize::from(of)).filter(|of| *of > 0);
        let window = rustix::termios::tcgetwinsize(io::stdout()).ok();
        if let Some(look) = &mut self.look {
            look.width = window.and_then(|window| size(window.ws_col));
            look.height = window.and_then(|window| size(window.ws_row));
        }
    }

    pub(crate) fn line(&mut self, text: &str) -> Result<(), Error> {
        Ok(writeln!(self.out, "{text}")?)
    }

    /// For people, beside the answer that a script reads.
    pub(crate) fn note(&mut self, text: &str) {
        // Whoever cannot be told does not keep the work from being done.
        let _unheard = writeln!(self.err, "{text}");
    }

    /// In a table's place, for a script.
    pub(crate) fn is_script(&self) -> bool {
        self.format != Format::Table
    }

    /// A list.
    pub(crate) fn list(&mut self, rows: Vec<Value>, columns: &[Column]) -> Result<(), Error> {
        if self.is_script() {
            return self.value(&Value::Array(rows));
        }
        let table = Table { columns, rows: &rows };
        let text = table.render(self.look, Timestamp::now());
        Ok(self.out.write_all(text.as_bytes())?)
    }

    /// One thing, a field on a line.
    pub(crate) fn thing(&mut self, thing: &Value, columns: &[Column]) -> Result<(), Error> {
        if self.is_script() {
            return self.value(thing);
        }
        let text = crate::table::sheet(columns, thing, self.look, Timestamp::now());
        Ok(self.out.write_all(text.as_bytes())?)
    }

    /// As data; in a table's place, too, where nothing better is known.
    pub(crate) fn value(&mut self, value: &Value) -> Result<(), Error> {
        let text = match self.format {
            Format::Yaml => serde_saphyr::to_string(value).map_err(io::Error::other)?,
            Format::Table | Format::Json => {
                serde_json::to_string_pretty(value).map_err(io::Error::other)? + "\n"
            }
        };
        Ok(self.out.write_all(text.as_bytes())?)
    }

    /// One of many that follow each other without an end.
    pub(crate) fn item(&mut self, value: &Value) -> Result<(), Error> {
        let text = match self.format {
            Format::Yaml => {
                format!("---\n{}", serde_saphyr::to_string(value).map_err(io::Error::other)?)
            }
            Format::Table | Format::Json => format!("{value}\n"),
        };
        self.out.write_all(text.as_bytes())?;
        Ok(self.out.flush()?)
    }

    /// What was done, in one sentence, or the thing itself for a script.
    pub(crate) fn done(&mut self, thing: &Value, sentence: &str) -> Result<(), Error> {
        if self.is_script() { self.value(thing) } else { self.line(sentence) }
    }

    /// Over the last one, while somebody waits. An empty one wipes it.
    pub(crate) fn progress(&mut self, text: &str) {
        if self.watched {
            let _unheard = write!(self.err, "\r\u{1b}[K{text}").and_then(|()| self.err.flush());
        }
    }

    pub(crate) fn colour(&self, text: &str, word: &str) -> String {
        self.look.map_or_else(|| text.to_owned(), |look| look.paint(text, word))
    }

    pub(crate) fn all_input(&mut self) -> Result<Vec<u8>, Error> {
        let mut text = Vec::new();
        let read = self.input.by_ref().take(LARGEST_INPUT + 1).read_to_end(&mut text);
        let length = read.map_err(|error| Error::Usage(format!("standard input cannot be read: {error}")))?;
        if length as u64 > LARGEST_INPUT {
            return Err(Error::Usage("standard input is larger than 16 MiB".to_owned()));
        }
        Ok(text)
    }
}

/// <https://no-color.org>: whatever it is set to, if it is not empty.
fn wants_colours(source: &dyn Source) -> bool {
    let set = |name: &str| source.get(name).filter(|value| !value.is_empty());
    set("NO_COLOR").is_none() && set("TERM").is_some_and(|terminal| terminal != "dumb")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn colours_are_left_out_where_nobody_wants_or_knows_them() {
        for (environment, want) in [
            (&[("TERM", "xterm")][..], true),
            (&[("TERM", "xterm"), ("NO_COLOR", "")], true),
            (&[("TERM", "xterm"), ("NO_COLOR", "1")], false),
            (&[("TERM", "dumb")], false),
            (&[], false),
        ] {
            let source: BTreeMap<&str, &str> = environment.iter().copied().collect();
            assert_eq!(wants_colours(&source), want, "{environment:?}");
        }
    }
}
