//! What compilers put into every program: Rust's standard library, and the C library of what is
//! linked with it for good.

use std::fs;
use std::path::Path;

use super::Work;
use crate::run::{Failed, cannot, output};

/// As the compiler comes with it: the whole of it is a page of its own.
const LIBRARY: &str = "share/doc/rust/COPYRIGHT-library.html";

/// A C library that is in a program.
pub(crate) struct Runtime {
    pub(crate) name: &'static str,
    pub(crate) licence: &'static str,
    pub(crate) home: &'static str,
    /// What Debian says of it, where it is installed to build with.
    pub(crate) told_in: &'static str,
}

pub(super) fn of(runtimes: &[Runtime]) -> Result<Vec<Work>, Failed> {
    let release = output("rustc", &["--version"])?;
    let version = release.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let mut works = vec![Work {
        kind: "rust",
        name: "library".to_owned(),
        version,
        licence: "MIT OR Apache-2.0".to_owned(),
        home: "https://www.rust-lang.org; see third-party/rust-library.html.gz".to_owned(),
        texts: vec!["Copyright 2010 and later, The Rust Project Developers".to_owned()],
    }];
    for Runtime { name, licence, home, told_in } in runtimes {
        // What was not built in, for want of it, has nothing to tell either.
        let Ok(text) = fs::read_to_string(told_in) else { continue };
        works.push(Work {
            kind: "runtime",
            name: (*name).to_owned(),
            version: "debian".to_owned(),
            licence: (*licence).to_owned(),
            home: (*home).to_owned(),
            texts: vec![text],
        });
    }
    Ok(works)
}

pub(super) fn put_library_terms(folder: &Path) -> Result<(), Failed> {
    let sysroot = output("rustc", &["--print", "sysroot"])?;
    let from = Path::new(sysroot.trim()).join(LIBRARY);
    let to = folder.join("rust-library.html");
    fs::copy(&from, to).map(drop).map_err(cannot(&from.display().to_string()))
}
