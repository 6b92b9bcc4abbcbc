//! YAML as the value that the same text in JSON would be. What makes little text into much, or
//! hides what it says, is refused: anchors, aliases, merge keys, depth.

use axum::body::Bytes;
use serde_json::Value;
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy};
use serde_saphyr::{Error as Yaml, Options};

use super::super::error::Error;
use super::LARGEST_DOCUMENT;

/// The document itself is seven deep.
const DEEPEST: usize = 16;
/// Ten thousand of each with everything that can be said of it come to less than half of this.
const MOST_NODES: usize = 2_000_000;

pub(super) fn read(body: &Bytes) -> Result<Value, Error> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let before = body.get(..error.valid_up_to()).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Error::MalformedYaml(format!("line {line} has bytes that are not UTF-8"))
    })?;
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| Error::MalformedYaml(words(&error)))
}

fn options() -> Options {
    let budget = serde_saphyr::budget! {
        max_anchors: 0,
        max_aliases: 0,
        max_merge_keys: 0,
        max_depth: DEEPEST,
        flow_nesting_limit: DEEPEST,
        // The second has a sentence of its own.
        max_documents: 2,
        max_nodes: MOST_NODES,
        max_events: 2 * MOST_NODES,
        max_total_scalar_bytes: LARGEST_DOCUMENT,
        max_total_comment_bytes: LARGEST_DOCUMENT,
    };
    serde_saphyr::options! {
        budget: budget,
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        with_snippet: false,
    }
}

/// What and where, but not the text itself: it may be a password.
fn words(error: &Yaml) -> String {
    let what = match error.without_snippet() {
        Yaml::DuplicateMappingKey { .. } => "a key is there twice",
        Yaml::Budget { .. } => {
            "anchors, aliases, and more depth or more entries than a configuration has, are not taken"
        }
        Yaml::MergeKeyNotAllowed { .. } => "merge keys are not taken",
        Yaml::MultipleDocuments { .. } => "there is a second document",
        Yaml::UnknownAnchor { .. } | Yaml::AliasError { .. } => "aliases are not taken",
        _ => "the body is not YAML",
    };
    match error.location() {
        Some(place) if place.line() > 0 => {
            format!("{what}: see line {}, column {}", place.line(), place.column())
        }
        Some(_) | None => what.to_owned(),
    }
}
