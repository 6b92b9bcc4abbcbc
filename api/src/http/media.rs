//! JSON or YAML: what was sent, and what is to be answered.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Media {
    Json,
    Yaml,
}

impl Media {
    pub(super) fn sent(headers: &HeaderMap) -> Option<Self> {
        let kind = essence(text(headers, header::CONTENT_TYPE));
        let (top, name) = kind.split_once('/')?;
        match (top, name) {
            ("application", "json") => Some(Self::Json),
            ("application", name) if name.ends_with("+json") => Some(Self::Json),
            ("application", "yaml" | "x-yaml") | ("text", "yaml" | "x-yaml" | "vnd.yaml") => Some(Self::Yaml),
            ("application", name) if name.ends_with("+yaml") => Some(Self::Yaml),
            _ => None,
        }
    }

    /// Lines: whatever is not a document. curl calls what it sends a form unless it is told otherwise.
    pub(super) fn is_text(headers: &HeaderMap) -> bool {
        Self::sent(headers).is_none()
    }

    /// The first of both that is named; JSON where neither is.
    pub(super) fn wanted(headers: &HeaderMap) -> Self {
        let named = |kind: &str| {
            let kind = essence(kind);
            match kind.as_str() {
                "application/json" => Some(Self::Json),
                "application/yaml" | "application/x-yaml" | "text/yaml" | "text/x-yaml" => Some(Self::Yaml),
                _ => None,
            }
        };
        text(headers, header::ACCEPT).split(',').find_map(named).unwrap_or(Self::Json)
    }

    pub(super) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
        })
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Without parameters.
fn essence(kind: &str) -> String {
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        [(name, HeaderValue::from_static(value))].into_iter().collect()
    }

    #[test]
    fn what_is_sent_is_what_its_type_says() {
        for (kind, want) in [
            ("application/json", Some(Media::Json)),
            ("application/json; charset=utf-8", Some(Media::Json)),
            ("application/merge-patch+json", Some(Media::Json)),
            ("Application/YAML", Some(Media::Yaml)),
            ("text/yaml", Some(Media::Yaml)),
            ("text/plain", None),
            ("", None),
        ] {
            assert_eq!(Media::sent(&headers(header::CONTENT_TYPE, kind)), want, "{kind}");
        }
    }

    #[test]
    fn the_answer_is_json_unless_yaml_is_asked_for() {
        for (accept, want) in [
            ("", Media::Json),
            ("*/*", Media::Json),
            ("application/yaml", Media::Yaml),
            ("application/yaml, application/json;q=0.5", Media::Yaml),
            ("application/json, application/yaml;q=0.5", Media::Json),
        ] {
            assert_eq!(Media::wanted(&headers(header::ACCEPT, accept)), want, "{accept}");
        }
    }
}
