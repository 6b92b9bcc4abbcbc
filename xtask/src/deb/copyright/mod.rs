//! Whose work is in a package, and on which terms: from what was really built in, so that it cannot be
//! forgotten when something comes or goes. Beside Debian's file with the list, the words of every
//! licence as they came with the work, each of them once.

mod crates;
mod pages;
mod runtimes;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

pub(super) use runtimes::Runtime;

use super::contents::Package;
use super::target::Target;
use crate::run::{Failed, cannot};

const OURS: &str = "\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: pgw
Comment: The programs hold the works of others that are listed below. The words of
 their licences, as they came with them, are in third-party/licences.gz beside this
 file.

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

/// Somebody else's, in a package of ours.
struct Work {
    /// Where it comes from, and what it is called there.
    kind: &'static str,
    name: String,
    version: String,
    licence: String,
    home: String,
    /// Its licences, as they came with it.
    texts: Vec<String>,
}

/// `copyright`, and `third-party/`.
pub(super) fn write(folder: &Path, target: &Target, package: &Package) -> Result<(), Failed> {
    let mut works = crates::of(target, package.crates)?;
    if package.has_pages {
        works.extend(pages::of(Path::new(pages::PLACE))?);
    }
    works.extend(runtimes::of(package.runtimes)?);
    let third_party = folder.join("third-party");
    fs::create_dir_all(&third_party).map_err(cannot("third-party"))?;
    runtimes::put_library_terms(&third_party)?;
    fs::write(folder.join("copyright"), list(&works)).map_err(cannot("copyright"))?;
    fs::write(third_party.join("licences"), texts(&works)).map_err(cannot("licences"))
}

fn list(works: &[Work]) -> String {
    let mut list = OURS.to_owned();
    for Work { kind, name, version, licence, home, texts } in works {
        let holders = holders(texts);
        let holders = if holders.is_empty() { format!("the authors of {name}") } else { holders.join("\n ") };
        let licence = expression(licence);
        let _ =
            write!(list, "\nFiles: {kind}/{name}-{version}/*\nCopyright: {holders}\nLicense: {licence}\n");
        if !home.is_empty() {
            let _ = writeln!(list, "Comment: {home}");
        }
    }
    list.push('\n');
    list.push_str(TERMS);
    let licences: BTreeSet<String> = works.iter().map(|of| expression(&of.licence)).collect();
    for licence in licences.iter().filter(|licence| *licence != "MIT or Apache-2.0") {
        let _ = write!(list, "\nLicense: {licence}\n See third-party/licences.gz beside this file.\n");
        if licence.contains("Apache-2.0") {
            list.push_str(" On Debian systems, the Apache License, Version 2.0, is in\n /usr/share/common-licenses/Apache-2.0.\n");
        }
    }
    list
}

/// What lies beside a work to tell of its terms.
fn texts_in(folder: &Path) -> Vec<String> {
    let is_licence = |name: &str| {
        ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"]
            .iter()
            .any(|begin| name.to_uppercase().starts_with(begin))
    };
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
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

/// Each text once, with the works that came with it.
fn texts(works: &[Work]) -> String {
    let mut by_text: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for of in works {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn work(kind: &'static str, name: &str, licence: &str, text: &str) -> Work {
        let (name, licence, home) = (name.to_owned(), licence.to_owned(), "https://x.example".to_owned());
        Work { kind, name, version: "1.0.0".to_owned(), licence, home, texts: vec![text.to_owned()] }
    }

    #[test]
    fn each_work_is_named_with_its_holders_and_terms_and_each_licence_has_its_words() {
        let works = [
            work("crate", "a", "Apache-2.0/MIT", "MIT\n\nCopyright (c) 2019 Anna\nPermission"),
            work("npm", "b", "MIT", "no claim\n"),
            work("npm", "c", "(MIT OR Zlib) AND BSD-3-Clause", "MIT\n\nCopyright (c) 2019 Anna\nPermission"),
        ];
        let told = list(&works);
        for words in [
            "Files: crate/a-1.0.0/*\nCopyright: 2019 Anna\nLicense: MIT or Apache-2.0\nComment: https://x.example\n",
            "Files: npm/b-1.0.0/*\nCopyright: the authors of b\nLicense: MIT\n",
            "License: MIT or Zlib, and BSD-3-Clause\n See third-party",
            "License: MIT\n See third-party",
        ] {
            assert!(told.contains(words), "{words}: {told}");
        }
        assert_eq!(told.matches("License: MIT or Apache-2.0\n Permission").count(), 1, "{told}");
        let words = texts(&works);
        assert!(words.contains("=== a 1.0.0, c 1.0.0\n\nMIT\n"), "each once: {words}");
    }
}
