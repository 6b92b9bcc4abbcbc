//! The package's numbers, as the life cycle test has measured them.

use std::fs;
use std::io::ErrorKind;

use crate::run::{Failed, cannot, output};

const ROWS: &str = "target/lifecycle/numbers";
const PAGE: &str = "docs/bench/package.md";

/// What an earlier run has measured.
pub(crate) fn forget() -> Result<(), Failed> {
    match fs::remove_dir_all(ROWS) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(cannot(ROWS)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

pub(crate) fn publish() -> Result<(), Failed> {
    let mut files: Vec<_> =
        fs::read_dir(ROWS).map_err(cannot(ROWS))?.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let mut page = format!(
        "# The package, in numbers\n\nWritten by `cargo xtask lifecycle`, in a Debian that systemd has booted in a \
         container. Measured {}, {} cores, Linux {}.\n\n| what | goal | measured |\n|---|---|---|\n",
        output("date", &["--utc", "+%F"])?.trim(),
        output("nproc", &[])?.trim(),
        output("uname", &["--kernel-release"])?.trim(),
    );
    for file in files {
        page += &fs::read_to_string(&file).map_err(cannot(ROWS))?;
    }
    fs::write(PAGE, page).map_err(cannot(PAGE))
}
