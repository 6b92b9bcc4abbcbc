//! Every guarantee is quoted by a test, and no test quotes one that is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

/// What of a file is test: all of it, or what stands in its own module for that.
fn tests_in(text: &str) -> &str {
    let is_test = || ["#[test]", "#[tokio::test", "crate::tests!["].iter().any(|mark| text.contains(mark));
    match text.find("#[cfg(test)]\nmod tests {") {
        Some(at) => &text[at..],
        None if is_test() => text,
        None => "",
    }
}

/// Numbers behind a G that begins a word.
fn quoted(text: &str) -> BTreeSet<u32> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.filter_map(|word| word.strip_prefix('G')?.parse().ok()).collect()
}

#[test]
fn every_guarantee_is_quoted_by_a_test_and_every_quoted_one_is_there() {
    let document = fs::read_to_string(root().join("docs/guarantees.md")).unwrap();
    let headings = document.lines().filter_map(|line| line.strip_prefix("## "));
    let promised: BTreeSet<u32> = headings.flat_map(quoted).collect();
    assert!(promised.len() >= 14, "{promised:?}");

    let mut files = Vec::new();
    sources(&root(), &mut files);
    let mut by: BTreeMap<u32, PathBuf> = BTreeMap::new();
    // This file speaks of guarantees, and proves none.
    for file in files.into_iter().filter(|file| !file.ends_with("xtask/src/guarantees.rs")) {
        let text = fs::read_to_string(&file).unwrap();
        by.extend(quoted(tests_in(&text)).into_iter().map(|number| (number, file.clone())));
    }
    let unproven: Vec<_> = promised.iter().filter(|number| !by.contains_key(number)).collect();
    assert!(unproven.is_empty(), "quoted by no test: {unproven:?}");
    let unknown: Vec<_> = by.iter().filter(|(number, _)| !promised.contains(number)).collect();
    assert!(unknown.is_empty(), "quoted, and not in docs/guarantees.md: {unknown:?}");
}
