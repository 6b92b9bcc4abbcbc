//! May this path be passed on? Whoever reads it after us could read another one into it: a dot
//! segment or a hidden slash would then leave the prefix under which it was let in.

use axum::http::StatusCode;

use crate::problem::Problem;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathError {
    #[error("it has a '.' or '..' segment")]
    DotSegment,
    #[error("it has an empty segment ('//')")]
    EmptySegment,
    #[error("it has a backslash or an encoded slash or backslash")]
    HiddenSlash,
    #[error("it has an encoded control character")]
    Control,
    #[error("it has a '%' that is not followed by two hexadecimal digits")]
    Percent,
}

impl From<PathError> for Problem {
    fn from(error: PathError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "path_refused", format!("The path is not passed on: {error}."))
    }
}

/// Paths are refused, not cleaned: what two programs may read differently is not worth a guess.
pub(crate) fn check_path(path: &str) -> Result<(), PathError> {
    if path.contains("//") {
        return Err(PathError::EmptySegment);
    }
    if path.contains('\\') {
        return Err(PathError::HiddenSlash);
    }
    for escaped in path.split('%').skip(1) {
        match escaped.get(..2).filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit())) {
            None => return Err(PathError::Percent),
            Some(code) if code.eq_ignore_ascii_case("2f") || code.eq_ignore_ascii_case("5c") => {
                return Err(PathError::HiddenSlash);
            }
            Some(code) if code.starts_with(['0', '1']) || code.eq_ignore_ascii_case("7f") => {
                return Err(PathError::Control);
            }
            Some(_) => {}
        }
    }
    let is_dots = |segment: &str| {
        let plain = segment.to_ascii_lowercase().replace("%2e", ".");
        plain == "." || plain == ".."
    };
    if path.split('/').any(is_dots) { Err(PathError::DotSegment) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_two_programs_may_read_differently_is_refused() {
        for (path, want) in [
            ("/api/v1/clients", Ok(())),
            ("/api/v1/clients/", Ok(())),
            ("/api/v1/proxies/a%20b%C3%A9", Ok(())),
            ("/api/v1/...", Ok(())),
            ("/api/v1/.hidden/a..b", Ok(())),
            ("/api/v1/%252e%252e/x", Ok(())),
            ("/api/../agent/status", Err(PathError::DotSegment)),
            ("/api/v1/.", Err(PathError::DotSegment)),
            ("/api/%2e%2E/x", Err(PathError::DotSegment)),
            ("/api/.%2e/x", Err(PathError::DotSegment)),
            ("/agent/x/..", Err(PathError::DotSegment)),
            ("/api//v1", Err(PathError::EmptySegment)),
            ("/api/v1//", Err(PathError::EmptySegment)),
            ("/api/..%2fagent", Err(PathError::HiddenSlash)),
            ("/api/a%5C..%5cb", Err(PathError::HiddenSlash)),
            ("/api/..\\agent", Err(PathError::HiddenSlash)),
            ("/api/a%00", Err(PathError::Control)),
            ("/api/a%0d%0aHost:", Err(PathError::Control)),
            ("/api/%7f", Err(PathError::Control)),
            ("/api/%", Err(PathError::Percent)),
            ("/api/%2", Err(PathError::Percent)),
            ("/api/%zz", Err(PathError::Percent)),
            ("/api/%é", Err(PathError::Percent)),
        ] {
            assert_eq!(check_path(path), want, "{path}");
        }
    }
}
