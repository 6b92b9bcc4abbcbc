//! The pages of pgw-ui: built from ui/web into target/web, where pgw-ui's build takes them from.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use crate::install::{self, Package};
use crate::run::{Failed, judge, step};

const SOURCES: &str = "ui/web";
const LOCK: &str = "ui/web/package-lock.json";
/// npm writes it last.
const INSTALLED: &str = "ui/web/node_modules/.package-lock.json";
const BUILT: &str = "target/web/index.html";
/// What lies beside the sources and is no part of the pages: made, played with, or trying them.
const NO_PART: [&str; 4] = ["node_modules", "generated", "dev", "browser"];

const NODE: &[Package] = &[
    Package { name: "nodejs", why: "the pages are built with it" },
    Package { name: "npm", why: "it fetches what they are built of" },
];

/// Only what is older than its sources.
pub(crate) fn build() -> Result<(), Failed> {
    if changed(Path::new(SOURCES)) < changed(Path::new(BUILT)) {
        return Ok(());
    }
    tools()?;
    step("pages", || npm(&["run", "--silent", "build"]))
}

/// The pages, and what plays stories with them.
pub(crate) fn for_browser() -> Result<(), Failed> {
    build()?;
    tools()
}

/// Types, lints, unit tests, and whether the first load is within its budget.
pub(crate) fn test() -> Result<(), Failed> {
    for_browser()?;
    step("pages: types and tests", || npm(&["test", "--silent"]))
}

/// Whoever has npm has it from somewhere; Debian's is for those who have none.
fn tools() -> Result<(), Failed> {
    let version = Command::new("npm").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if version.is_err() {
        install::missing(NODE)?;
    }
    if changed(Path::new(LOCK)) <= changed(Path::new(INSTALLED)) {
        return Ok(());
    }
    step("what the pages are built of", || npm(&["ci", "--silent"]))
}

fn npm(arguments: &[&str]) -> Result<(), Failed> {
    judge(Command::new("npm").current_dir(SOURCES).args(arguments), "npm", arguments)
}

/// The last change of a file, or of anything in a folder; what is not there was never changed.
fn changed(path: &Path) -> Option<SystemTime> {
    let own = fs::metadata(path).and_then(|meta| meta.modified()).ok();
    let inside = fs::read_dir(path).into_iter().flatten().flatten();
    let inside = inside
        .filter(|entry| !NO_PART.map(OsStr::new).contains(&entry.file_name().as_os_str()))
        .map(|entry| changed(&entry.path()));
    // A folder's own time moves with what is made in it.
    if path.is_dir() { inside.max().flatten() } else { own }
}
