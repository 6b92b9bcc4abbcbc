//! What a process runs out of: file descriptors, memory, local ports. Whoever meets that has
//! learnt something about this machine, and nothing about whom it wanted to reach.

use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A connection takes a file or two, and the usual soft limit is 1024.
pub fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(error = %error, "cannot raise the limit of open files");
    }
}

/// What this machine is called.
pub fn host_name() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned())
}

/// How many files this process may have open now.
pub fn file_limit() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

/// Is it this machine that has nothing left to work with?
pub fn is_exhausted(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// For errors that come without their cause: libraries that look up names or read certificates
/// tell only that it did not work. Answers what is missing now, if anything is.
pub fn shortage() -> Option<io::Error> {
    std::net::UdpSocket::bind(("127.0.0.1", 0)).err().filter(is_exhausted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exhaustion_is_told_from_everything_else() {
        for (errno, want) in [
            (Errno::MFILE, true),
            (Errno::NFILE, true),
            (Errno::NOBUFS, true),
            (Errno::NOMEM, true),
            (Errno::CONNABORTED, false),
            (Errno::CONNREFUSED, false),
            (Errno::NETDOWN, false),
            (Errno::PERM, false),
        ] {
            assert_eq!(is_exhausted(&errno.into()), want, "{errno}");
        }
        assert!(!is_exhausted(&io::Error::other("no number")));
    }
}
