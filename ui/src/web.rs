//! The pages, which are part of the program, and how long a browser may keep each of their files.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::problem::Problem;
use crate::target::check_path;

pub(crate) struct Page {
    pub(crate) path: &'static str,
    content_type: &'static str,
    etag: &'static str,
    plain: &'static [u8],
    gzip: &'static [u8],
}

/// Sorted by path.
pub(crate) static PAGES: &[Page] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

const APP: &str = "/index.html";
/// Their names change with their content.
const HASHED: &str = "/assets/";
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// Kept, but asked for each time: after an upgrade nobody sees half of the old page.
const ASK_FIRST: &str = "no-cache";

fn find(path: &str) -> Option<&'static Page> {
    PAGES.binary_search_by(|page| page.path.cmp(path)).ok().and_then(|at| PAGES.get(at))
}

/// Everything that is no service's. The app has pages of its own at many addresses, and whoever
/// opens one of them gets the app; a program that takes no pages and has mistyped a path is told so.
pub(crate) async fn answer(request: Request) -> Response {
    let path = request.uri().path();
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let problem =
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "This can only be read.");
        return ([(header::ALLOW, "GET, HEAD")], problem).into_response();
    }
    if let Some(page) = find(path).filter(|page| page.path != APP) {
        return page.answer(request.headers());
    }
    if path == "/" || (is_of_the_app(path) && takes_pages(request.headers())) {
        return find(APP).map_or_else(|| not_found().into_response(), |page| page.answer(request.headers()));
    }
    not_found().into_response()
}

fn not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "There is nothing here. The pages begin at /, pgw-api is below /api/ and pgw-agent below /agent/.",
    )
}

/// An old page that asks for a file of its own must not be given the new page instead.
fn is_of_the_app(path: &str) -> bool {
    let service = |name: &str| path == name || path.starts_with(&format!("{name}/"));
    check_path(path).is_ok()
        && !path.starts_with(HASHED)
        && !["/api", "/agent", "/healthz"].map(service).contains(&true)
}

fn takes_pages(headers: &HeaderMap) -> bool {
    let mut accepted = list(headers, &header::ACCEPT).peekable();
    let is_page = |kind: &str| matches!(kind.split(';').next(), Some("text/html" | "text/*" | "*/*"));
    accepted.peek().is_none() || accepted.any(is_page)
}

impl Page {
    fn answer(&self, asked: &HeaderMap) -> Response {
        let kept = if self.path.starts_with(HASHED) { FOR_EVER } else { ASK_FIRST };
        let kept: [(HeaderName, &str); 3] = [
            (header::ETAG, self.etag),
            (header::CACHE_CONTROL, kept),
            (header::VARY, "accept, accept-encoding"),
        ];
        if list(asked, &header::IF_NONE_MATCH).any(|known| known.trim_start_matches("W/") == self.etag) {
            return (StatusCode::NOT_MODIFIED, kept).into_response();
        }
        let kind = [(header::CONTENT_TYPE, self.content_type)];
        if takes_gzip(asked) {
            return (kept, kind, [(header::CONTENT_ENCODING, "gzip")], self.gzip).into_response();
        }
        (kept, kind, self.plain).into_response()
    }
}

fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    list(headers, &header::ACCEPT_ENCODING).any(|one| {
        let (coding, weight) = one.split_once(';').unwrap_or((one, ""));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0));
        coding.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::http::HeaderValue;

    use super::*;

    fn text(page: &Page) -> &'static str {
        std::str::from_utf8(page.plain).unwrap()
    }

    /// The content policy forbids whatever is written into the page itself, silently.
    #[test]
    fn the_page_asks_for_nothing_that_is_not_served_and_holds_nothing_inline() {
        let page = text(find(APP).unwrap());
        for inline in ["<style", "style=", "onclick", "onload", "javascript:", "http:", "https:", "//"] {
            assert!(!page.contains(inline), "{inline}");
        }
        assert_eq!(page.matches("<script").count(), page.matches("<script type=\"module\"").count());
        let asked: BTreeSet<&str> = ["src=\"", "href=\""]
            .iter()
            .flat_map(|attribute| page.split(attribute).skip(1))
            .filter_map(|rest| rest.split('"').next())
            .collect();
        assert!(asked.len() >= 3, "{asked:?}");
        for path in asked {
            assert!(find(path).is_some(), "the page asks for {path}");
        }
    }

    #[test]
    fn the_pages_are_sorted_and_each_is_smaller_when_packed() {
        assert!(PAGES.is_sorted_by(|one, next| one.path < next.path));
        assert!(PAGES.iter().any(|page| page.path.starts_with(HASHED)));
        let sum = |bytes: fn(&Page) -> &[u8]| PAGES.iter().map(|page| bytes(page).len()).sum::<usize>();
        assert!(sum(|page| page.gzip) * 2 < sum(|page| page.plain));
        assert!(PAGES.iter().all(|page| page.gzip.starts_with(&[0x1f, 0x8b])));
    }

    #[test]
    fn it_is_packed_for_those_who_say_that_they_can_unpack_it() {
        for (accepted, want) in [
            ("gzip, deflate, br", true),
            ("br, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("br", false),
            ("identity", false),
            ("xgzip", false),
        ] {
            let mut headers = HeaderMap::new();
            assert!(!takes_gzip(&headers));
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted));
            assert_eq!(takes_gzip(&headers), want, "{accepted}");
        }
    }
}
