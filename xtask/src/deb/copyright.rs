//! Whose work is in the programs, and on which terms: from cargo's own tree, so that it cannot be
//! forgotten when a dependency comes or goes. Beside Debian's file with the list, the words of
//! every licence as they came with the crates, each of them once.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::target::Target;
use crate::run::{Failed, cannot, output};

const OURS: &str = "\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: pgw
Comment: The programs hold the crates that are listed below. The words of their
 licences, as they came with them, are in third-party/licences.gz beside this file.

Files: *
Copyright: The pgw authors
License: MIT or Apache-2.0
";

const TERMS: &str = "\
License: MIT or Apache-2.0
 Permission is hereby granted, free of charge, to any person obtaining a copy
 of this software and associated documentation files (the \"Software\"), to deal
 in the Software without restriction, including without limitation the rights
 to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
 copies of the Software, and to permit persons to whom the Software is
 furnished to do so, subject to the following conditions:
 .
 The above copyright notice and this permission notice shall be included in
 all copies or substantial portions of the Software.
 .
 THE SOFTWARE IS PROVIDED \"AS IS\", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
 IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
 FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
 AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
 LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
 OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
 SOFTWARE.
 .
 Or, as you like, the Apache License, Version 2.0: on Debian systems it is in
 /usr/share/common-licenses/Apache-2.0.
";

struct Crate {
    name: String,
    version: String,
    licence: String,
    repository: String,
    texts: Vec<String>,
}

/// `copyright`, and `third-party/licences`.
pub(super) fn write(folder: &Path, target: &Target, packages: &[&str]) -> Result<(), Failed> {
    let crates = crates(target, packages)?;
    let mut list = OURS.to_owned();
    for Crate { name, version, licence, repository, texts } in &crates {
        let holders = holders(texts);
        let _ = write!(
            list,
            "\nFiles: crate/{name}-{version}/*\nCopyright: {}\nLicense: {}\nComment: {repository}\n",
            if holders.is_empty() { format!("the authors of {name}") } else { holders.join("\n ") },
            expression(licence),
        );
    }
    list.push('\n');
    list.push_str(TERMS);
    let licences: BTreeSet<String> = crates.iter().map(|of| expression(&of.licence)).collect();
    for licence in licences.iter().filter(|licence| *licence != "MIT or Apache-2.0") {
        let _ = write!(list, "\nLicense: {licence}\n See third-party/licences.gz beside this file.\n");
        if licence.contains("Apache-2.0") {
            list.push_str(" On Debian systems, the Apache License, Version 2.0, is in\n /usr/share/common-licenses/Apache-2.0.\n");
        }
    }
    let third_party = folder.join("third-party");
    fs::create_dir_all(&third_party).map_err(cannot("third-party"))?;
    fs::write(folder.join("copyright"), list).map_err(cannot("copyright"))?;
    fs::write(third_party.join("licences"), texts(&crates)).map_err(cannot("licences"))
}

/// What is compiled into the programs, our own crates left out.
fn crates(target: &Target, packages: &[&str]) -> Result<Vec<Crate>, Failed> {
    let mut words = vec!["tree", "--edges", "normal", "--prefix", "none", "--format", "{p}|{l}|{r}"];
    words.extend(packages);
    words.extend(target.for_tree());
    let tree = output(env!("CARGO"), &words)?;
    let lines: BTreeSet<&str> = tree.lines().collect();
    let registry = registry()?;
    let mut crates = Vec::new();
    for line in lines {
        let mut fields = line.split('|');
        let (Some(package), Some(licence), Some(repository)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        // A path behind the version: ours.
        let mut words = package.split_whitespace();
        let (Some(name), Some(version)) = (words.next(), words.next()) else { continue };
        if words.any(|word| word.starts_with("(/")) {
            continue;
        }
        let version = version.trim_start_matches('v').to_owned();
        let texts = texts_of(&registry, &format!("{name}-{version}"));
        let repository = repository.trim_end_matches(" (*)").to_owned();
        let licence = licence.trim_end_matches(" (*)").to_owned();
        if licence.is_empty() {
            return Err(Failed(format!("the crate {name} {version} does not say on which terms it is")));
        }
        crates.push(Crate { name: name.to_owned(), version, licence, repository, texts });
    }
    crates.dedup_by(|a, b| (&a.name, &a.version) == (&b.name, &b.version));
    Ok(crates)
}

/// Where cargo has unpacked the sources.
fn registry() -> Result<Vec<PathBuf>, Failed> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let sources = home.unwrap_or_default().join("registry/src");
    let folders = fs::read_dir(&sources).map_err(cannot(&sources.display().to_string()))?;
    Ok(folders.filter_map(|folder| Some(folder.ok()?.path())).collect())
}

fn texts_of(registry: &[PathBuf], package: &str) -> Vec<String> {
    let is_licence = |name: &str| {
        ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"]
            .iter()
            .any(|begin| name.to_uppercase().starts_with(begin))
    };
    let files =
        registry.iter().filter_map(|folder| fs::read_dir(folder.join(package)).ok()).flatten().flatten();
    let mut files: Vec<PathBuf> = files
        .filter(|file| file.file_name().to_str().is_some_and(is_licence))
        .map(|file| file.path())
        .collect();
    files.sort();
    files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect()
}

/// The lines in which somebody claims it.
fn holders(texts: &[String]) -> Vec<String> {
    let claims = |line: &&str| {
        let lower = line.to_lowercase();
        lower.starts_with("copyright")
            && lower.contains(|letter: char| letter.is_ascii_digit())
            && line.len() < 120
    };
    let lines = texts.iter().flat_map(|text| text.lines()).map(str::trim).filter(claims);
    let names: BTreeSet<String> = lines
        .map(|line| line.trim_start_matches("Copyright").trim_start_matches("copyright").trim())
        .map(|line| {
            line.trim_start_matches("(c)").trim_start_matches("(C)").trim_start_matches('©').trim().to_owned()
        })
        .filter(|line| !line.is_empty() && !line.contains("[yyyy]"))
        .collect();
    names.into_iter().collect()
}

/// As Debian writes what crates write.
fn expression(licence: &str) -> String {
    let text = licence
        .replace(") AND", ", AND")
        .replace('/', " or ")
        .replace(" OR ", " or ")
        .replace(" AND ", " and ");
    let text = text.replace(['(', ')'], "");
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        ["Apache-2.0", "or", "MIT"] => "MIT or Apache-2.0".to_owned(),
        words => words.join(" "),
    }
}

/// Each text once, with the crates that came with it.
fn texts(crates: &[Crate]) -> String {
    let mut by_text: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for of in crates {
        for text in &of.texts {
            by_text.entry(text.trim()).or_default().push(format!("{} {}", of.name, of.version));
        }
    }
    let mut all = String::new();
    for (text, names) in by_text {
        let _ = write!(all, "=== {}\n\n{text}\n\n", names.join(", "));
    }
    all
}
