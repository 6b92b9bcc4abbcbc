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

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

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
