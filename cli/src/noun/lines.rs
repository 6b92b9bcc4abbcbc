//! Many things at once, a line of a file for each. What one line lacks keeps no other from being
//! done, and a file that was done halfway is simply given again.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::error::Error;
use crate::file;
use crate::table::{Column, state, text};

const LINES: &[Column] =
    &[text("LINE", "/line"), state("RESULT", "/result"), text("NAME", "/name"), text("DETAIL", "/detail")];

#[derive(Args)]
pub(crate) struct Lines {
    /// Words parted by commas, tabs or spaces, and # before what is no line; - is standard input
    file: PathBuf,
    /// Tells what would be done
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// What became of a line.
pub(super) enum Became {
    Created,
    Unchanged,
}

impl Lines {
    /// Has each line done; `one` answers what it is called, and what became of it.
    pub(super) async fn each(
        &self,
        desk: &mut Desk,
        mut one: impl AsyncFnMut(&[String]) -> Result<(String, Became), Error>,
    ) -> Result<(), Error> {
        let list = file::read_or_input(desk, &self.file)?;
        let list = String::from_utf8(list)
            .map_err(|_odd| Error::Usage(format!("{} holds no text", self.file.display())))?;
        let (mut told, mut over) = (Vec::new(), None);
        let (mut created, mut unchanged) = (0_u32, 0_u32);
        for (number, words) in lines(&list) {
            desk.progress(&format!("line {number} …"));
            told.push(match one(&words).await {
                Ok((name, Became::Created)) => {
                    created += 1;
                    let result = if self.dry_run { "would_create" } else { "created" };
                    json!({"line": number, "result": result, "name": name})
                }
                Ok((name, Became::Unchanged)) => {
                    unchanged += 1;
                    json!({"line": number, "result": "unchanged", "name": name})
                }
                Err(error) if error.is_of_what_was_asked() => {
                    let name = words.first().cloned().unwrap_or_default();
                    let told = error.to_string();
                    let detail = told.split_whitespace().collect::<Vec<_>>().join(" ");
                    json!({"line": number, "result": "invalid", "name": name, "detail": detail})
                }
                // The next one would fare no better.
                Err(error) => {
                    over = Some(error);
                    break;
                }
            });
        }
        desk.progress("");
        let failed = told.len() as u64 - u64::from(created) - u64::from(unchanged);
        let answer = json!({"dry_run": self.dry_run, "created": created, "unchanged": unchanged, "failed": failed, "lines": told});
        let done = tell(desk, &answer, self.dry_run);
        over.map_or(done, Err)
    }
}

/// An import's answer, the API's or one of the same form.
pub(super) fn tell(desk: &mut Desk, answer: &Value, dry_run: bool) -> Result<(), Error> {
    let count = |name: &str| answer.get(name).and_then(Value::as_u64).unwrap_or_default();
    let failed = count("failed");
    if desk.is_script() {
        desk.value(answer)?;
    } else {
        let lines = answer.get("lines").and_then(Value::as_array).cloned().unwrap_or_default();
        desk.list(lines, LINES)?;
        let would = if dry_run { "would be " } else { "" };
        let (created, unchanged) = (count("created"), count("unchanged"));
        desk.note(&format!("{created} {would}created, {unchanged} there already, {failed} not taken"));
    }
    if failed == 0 { Ok(()) } else { Err(Error::Shown) }
}

/// Those that say something, with their numbers. A name may hold spaces where something else parts
/// the words.
fn lines(list: &str) -> impl Iterator<Item = (usize, Vec<String>)> {
    const PARTED: [char; 3] = [',', ';', '\t'];
    let words = |line: &str| -> Vec<String> {
        let words: Vec<&str> = if line.contains(PARTED) {
            line.split(PARTED).map(str::trim).collect()
        } else {
            line.split_whitespace().collect()
        };
        words.into_iter().filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let said = list.trim_start_matches('\u{feff}').lines().zip(1..);
    said.map(move |(line, number)| (number, line.trim()))
        .filter(|(_, line)| !line.starts_with('#'))
        .map(move |(number, line)| (number, words(line)))
        .filter(|(_, words)| !words.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_words_and_what_says_nothing_is_none() {
        let list = "\u{feff}tv 10.0.0.3\r\n\n  # all of them\ntv im Büro , 10.0.0.4,\nphone\t10.0.0.5\n;\n";
        let found: Vec<(usize, String)> =
            lines(list).map(|(number, words)| (number, words.join("|"))).collect();
        let want = [(1, "tv|10.0.0.3"), (4, "tv im Büro|10.0.0.4"), (5, "phone|10.0.0.5")];
        assert_eq!(found, want.map(|(number, words)| (number, words.to_owned())));
    }
}
