//! One heap for all threads. Otherwise the C library makes one for each, up to eight for each
//! processor, and no thread uses again what another one has let go.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// How the C library is told; it reads this before the program begins, and never again.
const NAME: &str = "MALLOC_ARENA_MAX";

/// Begins the program anew, as the same process, unless it was told how many heaps to have. To be
/// called before there is a second thread, a file or a socket. Where it cannot be done the program
/// is larger, and otherwise the same.
pub fn keep_one() {
    let told = env::var_os(NAME).is_some();
    let mut words = env::args_os();
    if let (false, Some(called), Ok(own)) = (told, words.next(), env::current_exe()) {
        // By the name that it was called by, if that leads here: it is what `ps` shows.
        let leads_here = fs::canonicalize(&called).is_ok_and(|path| path == own);
        let program = if leads_here { called.clone().into() } else { own };
        let _failed = again(called, &program, words).exec();
    }
}

/// Called as it was: several programs are one file.
fn again(called: OsString, program: &Path, words: impl Iterator<Item = OsString>) -> Command {
    #[expect(clippy::disallowed_methods, reason = "no other program is started: it is this one, anew")]
    let mut again = Command::new(program);
    again.arg0(called).args(words).env(NAME, "1");
    again
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_anew_under_its_own_name_with_its_own_words_and_one_heap() {
        let script = r#"echo "$0 $* $MALLOC_ARENA_MAX""#;
        let words = ["-c", script, "pgw-api", "backup", "a file"].map(OsString::from);
        let told = again("another name".into(), Path::new("/bin/sh"), words.into_iter()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&told.stdout), "pgw-api backup a file 1\n");
    }
}
