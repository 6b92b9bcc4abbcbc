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

    /// Of both the one that is liked best, and of equals the first; JSON where neither is named.
    pub(super) fn wanted(headers: &HeaderMap) -> Self {
        let sent = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut best = (0.0, Self::Json);
        for range in sent.flat_map(|value| value.split(',')) {
            let (liked, media) = (weight(range), Self::named(range));
            if let Some(media) = media.filter(|_| liked > best.0) {
                best = (liked, media);
            }
        }
        best.1
    }

    fn named(range: &str) -> Option<Self> {
        match essence(range).as_str() {
            "application/json" | "application/*" | "*/*" => Some(Self::Json),
            "application/yaml" | "application/x-yaml" | "text/yaml" | "text/x-yaml" => Some(Self::Yaml),
            _ => None,
        }
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

/// `;q=0.5`: how well it is liked. One that cannot be read likes nothing.
fn weight(range: &str) -> f32 {
    let parameters = range.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let mut weights = parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    weights.next().map_or(1.0, |(_, weight)| weight.trim().parse().unwrap_or(0.0))
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
            ("application/json;q=0.5, application/yaml", Media::Yaml),
            ("application/json; q=0.2, text/yaml ; Q=0.9", Media::Yaml),
            ("application/yaml, application/json", Media::Yaml),
            ("application/yaml, */*", Media::Yaml),
            ("application/yaml;q=0.5, */*", Media::Json),
            ("application/yaml;q=0", Media::Json),
            ("application/yaml;q=much", Media::Json),
            ("text/html", Media::Json),
        ] {
            assert_eq!(Media::wanted(&headers(header::ACCEPT, accept)), want, "{accept}");
        }
    }
}
