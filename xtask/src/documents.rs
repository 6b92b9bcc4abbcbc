//! What the documents point to is there: files, headings, and the lines that decide.

use std::fs;
use std::path::{Path, PathBuf};

/// Kinds of files that stand in the documents by their path from the project's root.
const KINDS: [&str; 5] = [".rs", ".ts", ".toml", ".json", ".md"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn documents(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            documents(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "md") {
            found.push(path);
        }
    }
}

/// As pages are shown: a heading's words in small letters, with a hyphen for each space.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn has_heading(document: &str, wanted: &str) -> bool {
    let headings = document.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#'))).any(|found| found == wanted)
}

/// Where `](…)` leads to, but for what is elsewhere in the world.
fn links(document: &str) -> impl Iterator<Item = &str> {
    let behind = document.split("](").skip(1);
    behind.filter_map(|rest| rest.split_once(')')).map(|(link, _)| link).filter(|link| !link.contains("://"))
}

/// What stands in backquotes.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

#[test]
fn every_link_in_the_documents_leads_to_a_file_and_a_heading_that_are_there() {
    let mut all = vec![root().join("README.md"), root().join("packaging/README.md")];
    documents(&root().join("docs"), &mut all);
    let (mut broken, mut followed) = (Vec::new(), 0);
    for document in &all {
        let text = fs::read_to_string(document).unwrap();
        for link in links(&text) {
            followed += 1;
            let (file, heading) = link.split_once('#').map_or((link, None), |(f, h)| (f, Some(h)));
            let target =
                if file.is_empty() { document.clone() } else { document.parent().unwrap().join(file) };
            let is_there = match heading {
                None => target.exists(),
                Some(wanted) => fs::read_to_string(&target).is_ok_and(|text| has_heading(&text, wanted)),
            };
            if !is_there {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(followed > 40, "{followed}");
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_line_that_decides_is_where_the_architecture_says() {
    let text = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let (mut wrong, mut looked) = (Vec::new(), 0);
    for line in text.lines() {
        let mut last: Option<PathBuf> = None;
        for word in quoted(line) {
            let is_path = KINDS.iter().any(|kind| word.ends_with(kind)) && !word.contains(['{', '<', '*']);
            if is_path {
                let beside = last.as_deref().and_then(Path::parent).map(|folder| folder.join(word));
                let found = beside.into_iter().chain([root().join(word)]).find(|path| path.is_file());
                looked += 1;
                if found.is_none() && (word.contains('/') || last.is_some()) {
                    wrong.push(format!("{word} is not there: {line}"));
                }
                last = found;
            } else if let Some(file) = &last
                && word.chars().all(|c| c.is_alphanumeric() || "_:".contains(c))
            {
                let name = word.rsplit("::").next().unwrap_or(word);
                if !fs::read_to_string(file).unwrap().contains(name) {
                    wrong.push(format!("{} has no {word}: {line}", file.display()));
                }
            }
        }
    }
    assert!(looked > 100, "{looked}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_heading_is_found_by_its_words() {
    for (heading, wanted) in [
        ("Is it well?", "is-it-well"),
        (" PostgreSQL, and several gateways", "postgresql-and-several-gateways"),
        ("`pgw-fwd@` and the rest", "pgw-fwd-and-the-rest"),
    ] {
        assert_eq!(anchor(heading), wanted);
    }
    assert!(!has_heading("# One\n\nTwo\n", "two"));
}

/// What a program's own help tells to type, and what its page tells.
#[test]
fn each_programs_page_knows_the_words_that_its_help_does() {
    for (program, source) in
        [("pgw-api", "api/src/main.rs"), ("pgw-agent", "agent/src/main.rs"), ("pgw-fwd", "fwd/src/start.rs")]
    {
        let source = fs::read_to_string(root().join(source)).unwrap();
        let page = fs::read_to_string(root().join(format!("packaging/man/{program}.8"))).unwrap();
        let page = page.replace('\\', "");
        let calls =
            source.lines().map(|line| line.trim().trim_start_matches("const USAGE: &str = \"usage: "));
        let calls = calls.filter_map(|line| line.strip_prefix(program)?.strip_prefix(' '));
        let mut known = 0;
        for word in calls.filter_map(|call| call.split([' ', ';', '"']).next()) {
            if word.is_empty()
                || word == "--version"
                || !word.trim_start_matches('-').chars().all(|c| c.is_ascii_lowercase())
            {
                continue;
            }
            known += 1;
            assert!(page.contains(word), "{program}.8 knows no {word}");
        }
        assert!(known > 0, "{program}'s help was not found");
    }
}
