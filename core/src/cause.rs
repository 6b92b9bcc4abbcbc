//! What happened, out of a chain of where it happened.

use std::error::Error;

/// The deepest cause: libraries wrap it in the places that it came through, and operators need
/// the former.
pub fn root(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    match cause.downcast_ref::<std::io::Error>() {
        // "connection refused", without the number of it.
        Some(io) if io.raw_os_error().is_some() => io.kind().to_string(),
        Some(_) | None => cause.to_string(),
    }
}

/// All of it in one line: what happened, where, and what lies behind that, each thing once.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = one_line(error);
    let mut cause = error.source();
    while let Some(deeper) = cause {
        let words = one_line(deeper);
        // Many say what lies behind them themselves.
        if !line.ends_with(&words) {
            line.push_str(": ");
            line.push_str(&words);
        }
        cause = deeper.source();
    }
    line
}

fn one_line(error: &dyn Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_chain_is_one_line_that_says_nothing_twice() {
        #[derive(Debug, thiserror::Error)]
        #[error("the file cannot be opened: {0}")]
        struct Inner(#[source] io::Error);
        #[derive(Debug, thiserror::Error)]
        #[error("while\n starting")]
        struct Outer(#[source] Inner);
        let told = chain(&Outer(Inner(io::Error::other("it is\ngone"))));
        assert_eq!(told, "while starting: the file cannot be opened: it is gone");
    }

    #[test]
    fn the_deepest_cause_is_told() {
        #[derive(Debug, thiserror::Error)]
        #[error("while asking")]
        struct Outer(#[source] io::Error);
        assert_eq!(root(&Outer(io::Error::other("refused"))), "refused");
        assert_eq!(root(&io::Error::other("refused")), "refused");
        assert_eq!(root(&Outer(io::Error::from_raw_os_error(111))), "connection refused");
    }
}
