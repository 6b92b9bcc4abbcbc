//! Examples in a document: commands that are run as they stand there, and what it says they answer.
//!
//! | fence | is |
//! |---|---|
//! | `sh` | run by bash, all of a document's in one shell, so that a variable is still there in the next |
//! | `json` | part of what the commands above it answer: fields may be left out, entries of a list may not |
//! | `text` | all of what they answer |
//! | any other | for people |
//!
//! `…` stands for whatever differs from one time to the next.

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde_json::Value;

const ANYTHING: char = '…';

#[derive(Debug, PartialEq)]
pub struct Example {
    /// Of its first command in the document.
    pub line: usize,
    pub commands: String,
    pub answer: Option<Answer>,
}

#[derive(Debug, PartialEq)]
pub enum Answer {
    Json(Value),
    Text(String),
}

/// Everything that is to be run, in its order.
pub fn examples(document: &str) -> Result<Vec<Example>> {
    let mut found: Vec<Example> = Vec::new();
    let mut lines = document.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        let Some(kind) = line.strip_prefix("```") else { continue };
        let within = lines.by_ref().map(|(line, _)| line).take_while(|line| *line != "```");
        let text: String = within.flat_map(|line| [line, "\n"]).collect();
        let answer = match kind {
            "sh" => {
                found.push(Example { line: number + 1, commands: text, answer: None });
                continue;
            }
            "json" => Answer::Json(
                serde_json::from_str(&text).with_context(|| format!("line {number}: this is no JSON"))?,
            ),
            "text" => Answer::Text(text),
            _for_people => continue,
        };
        let asked = found.last_mut().filter(|example| example.answer.is_none());
        asked.with_context(|| format!("line {number}: nobody asked for this answer"))?.answer = Some(answer);
    }
    ensure!(!found.is_empty(), "the document has no commands");
    Ok(found)
}

/// One script of all of them. What an example answers goes to a file of its own below `folder`;
/// the last file there belongs to the one that failed, if one did.
pub fn script(examples: &[Example], folder: &str) -> String {
    let begin = "set -euo pipefail\n".to_owned();
    let part = |(number, example): (usize, &Example)| {
        format!("{{\n{}}} > {folder}/{number}.out\n", example.commands)
    };
    begin + &examples.iter().enumerate().map(part).collect::<String>()
}

impl Example {
    pub fn holds(&self, said: &str) -> Result<()> {
        let checked = match &self.answer {
            None => Ok(()),
            Some(Answer::Text(text)) if fits(text, said) => Ok(()),
            Some(Answer::Text(text)) => Err(anyhow!("the document says\n{text}and the answer was\n{said}")),
            Some(Answer::Json(part)) => serde_json::from_str(said)
                .with_context(|| format!("the answer is no JSON: {said}"))
                .and_then(|whole| is_part(part, &whole, "").with_context(|| format!("of {said}"))),
        };
        checked.with_context(|| format!("line {}:\n{}", self.line, self.commands))
    }
}

fn is_part(part: &Value, whole: &Value, at: &str) -> Result<()> {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => part.iter().try_for_each(|(name, value)| {
            let at = format!("{at}/{name}");
            is_part(value, whole.get(name).with_context(|| format!("{at} is not there"))?, &at)
        }),
        (Value::Array(part), Value::Array(whole)) => {
            ensure!(part.len() == whole.len(), "{at} has {} entries, not {}", whole.len(), part.len());
            let mut pairs = part.iter().zip(whole).enumerate();
            pairs.try_for_each(|(n, (part, whole))| is_part(part, whole, &format!("{at}/{n}")))
        }
        (Value::String(part), _) if part.trim() == ANYTHING.to_string() => Ok(()),
        (Value::String(part), Value::String(whole)) if fits(part, whole) => Ok(()),
        _ if part == whole => Ok(()),
        _ => bail!("{at} is {whole}, and the document says {part}"),
    }
}

/// The pieces between the dots stand there, in this order, from its beginning to its end.
fn fits(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split(ANYTHING);
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        let Some((_, behind)) = rest.split_once(piece) else { return false };
        rest = behind;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PAGE: &str = "Words.\n\n```console\n# not for us\n```\n```sh\na\nb\n```\n\n```json\n{\"x\": 1}\n```\n```sh\nc\n```\n";

    #[test]
    fn commands_and_their_answers_are_found_and_what_is_for_people_is_left_alone() {
        let found = examples(PAGE).unwrap();
        let first =
            Example { line: 7, commands: "a\nb\n".to_owned(), answer: Some(Answer::Json(json!({"x": 1}))) };
        let second = Example { line: 15, commands: "c\n".to_owned(), answer: None };
        assert_eq!(found, [first, second]);
        assert!(script(&found, "/d").ends_with("{\na\nb\n} > /d/0.out\n{\nc\n} > /d/1.out\n"));
        for wrong in ["words", "```json\n{}\n```\n", "```sh\na\n```\n```text\nb\n```\n```text\nc\n```\n"] {
            assert!(examples(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_left_out_may_be_anything_and_what_is_said_may_not() {
        let whole =
            json!({"id": "1-2", "n": 2, "list": [{"a": 1, "b": 2}], "reason": "open through tv, now"});
        for (part, fits) in [
            (json!({"id": "…", "n": "…", "list": "…"}), true),
            (json!({"reason": "open through …"}), true),
            (json!({"reason": "… through …, now", "list": [{"a": 1}]}), true),
            (json!({"n": 3}), false),
            (json!({"m": "…"}), false),
            (json!({"list": []}), false),
            (json!({"reason": "open through"}), false),
            (json!({"reason": "closed …"}), false),
        ] {
            assert_eq!(is_part(&part, &whole, "").is_ok(), fits, "{part}");
        }
    }

    #[test]
    fn what_does_not_hold_is_told_with_its_place_and_both_sides() {
        for (kind, said) in [("json", "{\"x\": 2}"), ("json", "<html>"), ("text", "b\n")] {
            let page = format!("```sh\nls\n```\n```{kind}\n{{\"x\": 1}}\n```\n");
            let told = examples(&page).unwrap()[0].holds(said).unwrap_err();
            let told = format!("{told:#}");
            assert!(["line 2", "ls", said].iter().all(|part| told.contains(part)), "{told}");
        }
    }

    #[test]
    fn text_is_compared_whole_but_for_the_dots() {
        for (pattern, text, same) in [
            ("a\nb\n", "a\nb\n", true),
            ("a\nb\n", "a\nb\nc\n", false),
            ("a…\nb\n", "axx\nb\n", true),
            ("a…c…e\n", "abcde\n", true),
            ("a…c…e\n", "abde\n", false),
            ("…", "whatever\n", true),
        ] {
            assert_eq!(fits(pattern, text), same, "{pattern:?} {text:?}");
        }
    }
}
