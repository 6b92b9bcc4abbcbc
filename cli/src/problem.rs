//! The API's refusal (RFC 9457), in words for a terminal.

use std::fmt;

use serde::Deserialize;

use crate::words::plain;

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Problem {
    #[serde(default)]
    pub(crate) status: u16,
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    errors: Vec<FieldError>,
    request_id: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct FieldError {
    pointer: String,
    detail: String,
}

impl Problem {
    /// Whatever it is that came with this status, it says something.
    pub(crate) fn read(status: u16, body: &[u8]) -> Self {
        match serde_json::from_slice::<Self>(body) {
            Ok(problem) => Self { status, ..problem },
            Err(_no_problem_document) => Self::of_status(status),
        }
    }

    pub(crate) fn of_status(status: u16) -> Self {
        Self {
            status,
            title: String::new(),
            detail: format!("the gateway answered {status} and says no more"),
            code: String::new(),
            errors: Vec::new(),
            request_id: None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = if self.detail.is_empty() { &self.title } else { &self.detail };
        // What can be typed here, not what can be sent there.
        f.write_str(&plain(&words.replace("?cascade=true", "--cascade")))?;
        if !self.code.is_empty() {
            write!(f, " ({})", plain(&self.code))?;
        }
        // With one field only, its mistake is mostly told already.
        for FieldError { pointer, detail } in self.errors.iter().filter(|one| !words.contains(&one.detail)) {
            let field = pointer.trim_start_matches('/').replace("~1", "/").replace("~0", "~");
            write!(f, "\n  {}: {}", plain(&field), plain(detail))?;
        }
        match (&self.request_id, self.status) {
            (Some(id), 500) => write!(f, "\n  its log has it under {}", plain(id)),
            (_, 401) => {
                f.write_str("\n  a token is kept by `pgw login`, or given in PGW_TOKEN or --token-file")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_words_with_each_field_on_a_line() {
        let body = br#"{"type":"about:blank","title":"Bad Request","status":400,"code":"validation_failed",
            "detail":"2 fields are wrong","errors":[{"pointer":"/ip_cidr","detail":"is no address"},
            {"pointer":"/a~1b","detail":"is \u001b[31mred"}],"request_id":"r1"}"#;
        let told = Problem::read(400, body).to_string();
        assert_eq!(
            told,
            "2 fields are wrong (validation_failed)\n  ip_cidr: is no address\n  a/b: is \u{fffd}[31mred"
        );
    }

    #[test]
    fn a_field_that_the_detail_tells_of_is_not_told_twice() {
        let body = br#"{"title":"t","code":"name_taken","detail":"a proxy with this name exists already",
            "errors":[{"pointer":"/name","detail":"a proxy with this name exists already"}]}"#;
        assert_eq!(
            Problem::read(409, body).to_string(),
            "a proxy with this name exists already (name_taken)"
        );
    }

    #[test]
    fn what_would_help_is_told_as_it_is_typed() {
        let body = br#"{"title":"t","code":"in_use","detail":"delete them first, or use ?cascade=true"}"#;
        assert_eq!(Problem::read(409, body).to_string(), "delete them first, or use --cascade (in_use)");
    }

    #[test]
    fn what_is_no_refusal_as_we_know_it_still_says_its_status() {
        for body in [&b""[..], b"<html>", b"[]", b"\xff"] {
            assert!(Problem::read(502, body).to_string().contains("502"));
        }
    }
}
