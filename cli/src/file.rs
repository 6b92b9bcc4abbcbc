//! Files that are named on the command line; `-` is standard input.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::desk::Desk;
use crate::error::Error;

/// The largest document that the API takes.
const LARGEST: u64 = 16 << 20;

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let unreadable = |error| Error::Usage(format!("{} cannot be read: {error}", path.display()));
    let mut text = Vec::new();
    File::open(path).map_err(unreadable)?.take(LARGEST + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() as u64 > LARGEST {
        return Err(Error::Usage(format!("{} is larger than 16 MiB", path.display())));
    }
    Ok(text)
}

pub(crate) fn read_or_input(desk: &mut Desk, path: &Path) -> Result<Vec<u8>, Error> {
    if path.as_os_str() == "-" { desk.all_input() } else { read(path) }
}
