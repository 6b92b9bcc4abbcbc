//! Where a webhook may lead.

use reqwest::Url;

const LONGEST: usize = 2048;

/// Why an address cannot be a webhook's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("is not a URL, such as https://example.org/hook")]
    Malformed,
    #[error("must begin with http:// or https://")]
    Scheme,
    #[error("holds a user name or password; each message is signed, so it needs none")]
    Credentials,
    #[error("has a #fragment, which is never sent")]
    Fragment,
    #[error("is longer than {LONGEST} characters")]
    Long,
}

/// As it will be called.
pub fn parse(text: &str) -> Result<String, UrlError> {
    if text.len() > LONGEST {
        return Err(UrlError::Long);
    }
    let url = Url::parse(text.trim()).map_err(|_why| UrlError::Malformed)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(UrlError::Scheme);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlError::Credentials);
    }
    if url.fragment().is_some() {
        return Err(UrlError::Fragment);
    }
    if url.as_str().len() > LONGEST {
        return Err(UrlError::Long);
    }
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_webhook_may_lead() {
        let long = format!("https://example.org/{}", "x".repeat(LONGEST));
        for (text, want) in [
            ("https://example.org/hook?x=1", Ok("https://example.org/hook?x=1")),
            (" http://192.168.2.9:9000 ", Ok("http://192.168.2.9:9000/")),
            ("ftp://example.org/", Err(UrlError::Scheme)),
            ("file:///etc/passwd", Err(UrlError::Scheme)),
            ("example.org", Err(UrlError::Malformed)),
            ("", Err(UrlError::Malformed)),
            ("https://bob:hunter2@example.org/", Err(UrlError::Credentials)),
            ("https://bob@example.org/", Err(UrlError::Credentials)),
            ("https://example.org/#x", Err(UrlError::Fragment)),
            (long.as_str(), Err(UrlError::Long)),
        ] {
            assert_eq!(parse(text).as_deref(), want.as_ref().copied(), "{text}");
        }
    }
}
