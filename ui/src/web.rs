//! The page's files, which are part of the program.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use axum::extract::Request;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};

pub(crate) struct File {
    pub(crate) path: &'static str,
    content_type: &'static str,
    content: &'static str,
    /// None for the page itself, which is never kept.
    etag: Option<String>,
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

pub(crate) static FILES: LazyLock<[File; 6]> = LazyLock::new(|| {
    [
        File { path: "/", content_type: HTML, content: include_str!("../web/index.html"), etag: None },
        File::kept("/style.css", STYLE, include_str!("../web/style.css")),
        File::kept("/app.js", SCRIPT, include_str!("../web/app.js")),
        File::kept("/rest.js", SCRIPT, include_str!("../web/rest.js")),
        File::kept("/view.js", SCRIPT, include_str!("../web/view.js")),
        File::kept("/icon.svg", "image/svg+xml", include_str!("../web/icon.svg")),
    ]
});

impl File {
    fn kept(path: &'static str, content_type: &'static str, content: &'static str) -> Self {
        let mut hash = DefaultHasher::new();
        content.hash(&mut hash);
        Self { path, content_type, content, etag: Some(format!("\"{:016x}\"", hash.finish())) }
    }

    pub(crate) fn answer(&self, request: &Request) -> Response {
        let Some(etag) = &self.etag else {
            return ([(header::CONTENT_TYPE, self.content_type)], self.content).into_response();
        };
        // Kept, but asked for each time: after an upgrade nobody sees half of the old page.
        let kept: [(HeaderName, &str); 2] = [(header::ETAG, etag), (header::CACHE_CONTROL, "no-cache")];
        let known = request.headers().get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        if known.is_some_and(|known| known.split(',').any(|one| one.trim().trim_start_matches("W/") == etag))
        {
            return (StatusCode::NOT_MODIFIED, kept).into_response();
        }
        (kept, [(header::CONTENT_TYPE, self.content_type)], self.content).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The content policy forbids whatever is written into the page itself, silently.
    #[test]
    fn the_page_asks_for_nothing_that_is_not_served_and_holds_nothing_inline() {
        let page = FILES[0].content;
        for inline in ["<style", "style=", "onclick", "onload", "javascript:"] {
            assert!(!page.contains(inline), "{inline}");
        }
        assert_eq!(page.matches("<script").count(), page.matches("<script type=\"module\" src=").count());
        let known = |path: &str| FILES.iter().any(|file| file.path == path);
        let mut asked = 0;
        for file in FILES.iter() {
            for attribute in ["src=\"", "href=\"", "from \"./", "url(\""] {
                for rest in file.content.split(attribute).skip(1) {
                    let name = rest.split('"').next().unwrap();
                    if !name.starts_with('#') {
                        let path = format!("/{}", name.trim_start_matches('/'));
                        assert!(known(&path), "{} asks for {name}", file.path);
                        asked += 1;
                    }
                }
            }
        }
        assert!(asked >= 5, "{asked}");
    }

    #[test]
    fn what_the_services_send_is_never_read_as_markup() {
        for file in FILES.iter() {
            for sink in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!file.content.contains(sink), "{} uses {sink}", file.path);
            }
        }
    }
}
