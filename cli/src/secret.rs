//! Words that nobody else may read: typed without being shown, or piped in, and never given as an
//! argument, which everybody on the machine can read.

use std::io::{self, BufRead as _};
use std::path::Path;

use pgw_core::redact::Secret;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::desk::Desk;
use crate::error::Error;
use crate::file;

const LONGEST: usize = 4096;

/// Shows what is typed again when it is dropped, also when reading fails.
struct Silence(Termios);

impl Silence {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        silent.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // If the terminal is gone, nobody types there.
        let _gone = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// One line: from a file, or from standard input (`-`, or no file), which is asked if it is a terminal.
pub(crate) fn ask(desk: &mut Desk, what: &str, from: Option<&Path>) -> Result<Secret, Error> {
    let text = match from.filter(|path| path.as_os_str() != "-") {
        Some(path) => String::from_utf8(file::read(path)?)
            .map_err(|_odd| Error::Usage(format!("{} holds no text", path.display())))?,
        None => typed(desk, what)?,
    };
    let word = text.lines().next().unwrap_or_default();
    if word.is_empty() || word.len() > LONGEST {
        return Err(Error::Usage(format!("{what}: one line is needed, of up to {LONGEST} characters")));
    }
    Ok(Secret::new(word))
}

fn typed(desk: &mut Desk, what: &str) -> Result<String, Error> {
    let unreadable = |error: io::Error| Error::Usage(format!("{what} cannot be read: {error}"));
    let silence = if desk.asks {
        let silence = Silence::begin().map_err(unreadable)?;
        // Told as it is, not as progress: it has to be answered.
        let _unseen = write!(desk.err, "{what}: ").and_then(|()| desk.err.flush());
        Some(silence)
    } else {
        None
    };
    let mut line = Vec::new();
    let read = io::Read::take(&mut desk.input, LONGEST as u64 + 2).read_until(b'\n', &mut line);
    drop(silence);
    read.map_err(unreadable)?;
    String::from_utf8(line).map_err(|_odd| Error::Usage(format!("{what} is no text")))
}
