//! Why it did not work, and the exit code that says so to a script.

use std::io;

use crate::problem::Problem;

/// What the exit codes mean; the manual shows this table.
pub(crate) const CODES: &[(u8, &str)] = &[
    (0, "It was done."),
    (FAILED, "It was not: the answer says why. A check found a proxy down, a drill a leak, doctor a fault."),
    (USAGE, "What was typed or sent is not understood, or a name means several things."),
    (NOT_FOUND, "There is no such thing."),
    (CONFLICT, "Something stands against it: a name that is taken, or somebody else's change meanwhile."),
    (NOT_ALLOWED, "No token, one that is not known, or a role that does not reach so far."),
    (UNREACHABLE, "The gateway does not answer, or cannot answer now."),
];

pub(crate) const FAILED: u8 = 1;
pub(crate) const USAGE: u8 = 2;
const NOT_FOUND: u8 = 3;
const CONFLICT: u8 = 4;
const NOT_ALLOWED: u8 = 5;
pub(crate) const UNREACHABLE: u8 = 6;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Failed(String),
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    NotAllowed(String),
    #[error("{0}")]
    Refused(Box<Problem>),
    #[error("{0}")]
    Unreachable(String),
    #[error("what was found cannot be written: {0}")]
    Output(#[from] io::Error),
    /// What was shown says it all.
    #[error("it is not well")]
    Shown,
}

impl Error {
    pub(crate) fn code(&self) -> u8 {
        match self {
            // Somebody has seen enough, as `head` does.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Failed(_) | Self::Output(_) | Self::Shown => FAILED,
            Self::Usage(_) => USAGE,
            Self::NotFound(_) => NOT_FOUND,
            Self::NotAllowed(_) => NOT_ALLOWED,
            Self::Unreachable(_) => UNREACHABLE,
            Self::Refused(problem) => match problem.status {
                400 | 413 | 415 | 422 => USAGE,
                404 | 410 => NOT_FOUND,
                409 | 412 | 428 => CONFLICT,
                401 | 403 | 421 | 429 => NOT_ALLOWED,
                502..=504 => UNREACHABLE,
                _ => FAILED,
            },
        }
    }

    /// Nothing more is to be said.
    pub(crate) fn is_told(&self) -> bool {
        match self {
            Self::Shown => true,
            Self::Output(error) => error.kind() == io::ErrorKind::BrokenPipe,
            _ => false,
        }
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.code() == NOT_FOUND
    }

    /// The same question may be answered well a little later.
    pub(crate) fn may_pass(&self) -> bool {
        self.code() == UNREACHABLE
    }

    /// Another question may be answered well.
    pub(crate) fn is_of_what_was_asked(&self) -> bool {
        matches!(self.code(), USAGE | NOT_FOUND | CONFLICT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_exit_code_is_documented_once_and_each_kind_of_refusal_has_one() {
        let documented: Vec<u8> = CODES.iter().map(|(code, _)| *code).collect();
        assert_eq!(documented, (0..=UNREACHABLE).collect::<Vec<u8>>());
        for (status, want) in [
            (400, USAGE),
            (401, NOT_ALLOWED),
            (403, NOT_ALLOWED),
            (404, NOT_FOUND),
            (409, CONFLICT),
            (410, NOT_FOUND),
            (412, CONFLICT),
            (413, USAGE),
            (421, NOT_ALLOWED),
            (422, USAGE),
            (428, CONFLICT),
            (429, NOT_ALLOWED),
            (500, FAILED),
            (503, UNREACHABLE),
        ] {
            let refused = Error::Refused(Box::new(Problem::of_status(status)));
            assert_eq!(refused.code(), want, "{status}");
        }
        assert_eq!(Error::Output(io::ErrorKind::BrokenPipe.into()).code(), 0, "as with `| head`");
        assert_eq!(Error::Output(io::ErrorKind::StorageFull.into()).code(), FAILED);
    }
}
