//! `/v1/proxies/import`: a list of proxies as their seller hands it out.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Request, State};
use pgw_core::ids::ProxyId;
use pgw_core::proxy::{ProxyAddress, Scheme};
use serde::Serialize;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::{Error, FieldError};
use super::input::{Params, all_of};
use super::media::Media;
use super::{Api, values};
use crate::declarative::effect::bring_about;
use crate::declarative::import::{Offered, Outcome, judge};
use crate::store::applies::{Imported, Touched};

pub(super) const LARGEST_LIST: usize = 5 * 1024 * 1024;
const MOST_LINES: usize = 10_000;

pub(super) fn router() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(import))
}

#[derive(Serialize, utoipa::ToSchema)]
struct ImportAnswer {
    dry_run: bool,
    /// Or, in a dry run, how many would be.
    created: usize,
    /// How many there were already, also in a line before.
    unchanged: usize,
    failed: usize,
    /// Without those that are empty or begin with #.
    lines: Vec<ImportedLine>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct ImportedLine {
    /// The first is 1.
    line: usize,
    result: LineResult,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<ProxyId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum LineResult {
    Created,
    Unchanged,
    WouldCreate,
    Invalid,
    NameTaken,
}

/// Adds proxies, one for each line: a URL, `host:port`, `host:port:user:pass` or
/// `user:pass@host:port`; ?scheme= says what those without one are, http if it is left out. A URL
/// may end in `#` and a name; others are called by host and port. A proxy that is there already,
/// with the same address, user and password, stays as it is. What can be read is added in one
/// transaction, also where other lines cannot; ?dry_run=true tells what would be.
#[utoipa::path(post, path = "/v1/proxies/import", tag = "proxies",
    params(("scheme" = Option<Scheme>, Query), ("dry_run" = Option<bool>, Query)),
    request_body(content = String, content_type = "text/plain"),
    responses((status = 200, body = ImportAnswer)))]
async fn import(
    State(api): State<Arc<Api>>,
    Params(mut fields): Params,
    request: Request,
) -> Result<Json<ImportAnswer>, Error> {
    let scheme = fields.optional("scheme", values::scheme).unwrap_or(Scheme::Http);
    let dry_run = fields.optional("dry_run", values::boolean_word).unwrap_or(false);
    fields.finish()?;
    if !Media::is_text(request.headers()) {
        return Err(Error::UnsupportedMedia("text/plain"));
    }
    let body = all_of(request).await?;
    let lines = read(&body, scheme)?;
    let offered = lines.iter().filter_map(|(_, read)| read.as_ref().ok().cloned()).collect();
    let mut outcomes =
        if dry_run { would_be(&api, offered).await? } else { made(&api, offered).await? }.into_iter();
    let of_line = |(line, read): (usize, Read)| match read {
        Ok(_offered) => outcomes.next().map(|outcome| ImportedLine { line, ..outcome }),
        Err(detail) => Some(told(line, LineResult::Invalid, None, None, Some(detail))),
    };
    let lines: Vec<ImportedLine> = lines.into_iter().filter_map(of_line).collect();
    let count = |results: &[LineResult]| lines.iter().filter(|line| results.contains(&line.result)).count();
    Ok(Json(ImportAnswer {
        dry_run,
        created: count(&[LineResult::Created, LineResult::WouldCreate]),
        unchanged: count(&[LineResult::Unchanged]),
        failed: count(&[LineResult::Invalid, LineResult::NameTaken]),
        lines,
    }))
}

type Read = super::fields::Read<Offered>;

async fn would_be(api: &Api, offered: Vec<Offered>) -> Result<Vec<ImportedLine>, Error> {
    let now = api.store.snapshot().await?;
    let known: Vec<_> = now.proxies.values().map(|proxy| proxy.entry.clone()).collect();
    let line = |outcome| match outcome {
        Outcome::New(new) => told(0, LineResult::WouldCreate, Some(new.name), None, None),
        Outcome::Known(name) => {
            let id = now.proxies.get(&name).map(|proxy| proxy.id);
            told(0, LineResult::Unchanged, Some(name), id, None)
        }
        Outcome::NameTaken(name) => name_taken(name),
    };
    Ok(judge(offered, &known).into_iter().map(line).collect())
}

async fn made(api: &Api, offered: Vec<Offered>) -> Result<Vec<ImportedLine>, Error> {
    let imported = api.store.import(offered).await?;
    let mut touched = Touched::default();
    let line = |imported| match imported {
        Imported::Created(id, name) => {
            touched.redialled.insert(id);
            told(0, LineResult::Created, Some(name), Some(id), None)
        }
        Imported::Unchanged(id, name) => told(0, LineResult::Unchanged, Some(name), Some(id), None),
        Imported::NameTaken(name) => name_taken(name),
    };
    let lines = imported.into_iter().map(line).collect();
    bring_about(api.engine.as_ref(), &api.tunnels, &touched).await;
    Ok(lines)
}

fn told(
    line: usize,
    result: LineResult,
    name: Option<String>,
    id: Option<ProxyId>,
    detail: Option<String>,
) -> ImportedLine {
    ImportedLine { line, result, name, id, detail }
}

fn name_taken(name: String) -> ImportedLine {
    let detail = "another proxy has this name".to_owned();
    told(0, LineResult::NameTaken, Some(name), None, Some(detail))
}

/// Every line that says something, with what it says or why nobody understands it.
fn read(body: &Bytes, scheme: Scheme) -> Result<Vec<(usize, Read)>, Error> {
    let refuse = |detail: String| Error::Validation(vec![FieldError { pointer: String::new(), detail }]);
    let text = std::str::from_utf8(body).map_err(|error| {
        let before = body.get(..error.valid_up_to()).unwrap_or_default();
        refuse(format!(
            "line {} has bytes that are not UTF-8",
            1 + before.iter().filter(|b| **b == b'\n').count()
        ))
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let says_something = |line: &&str| !line.is_empty() && !line.starts_with('#');
    let lines = (1..).zip(text.lines().map(str::trim)).filter(|(_, line)| says_something(line));
    let lines: Vec<(usize, &str)> = lines.take(MOST_LINES + 1).collect();
    if lines.len() > MOST_LINES {
        return Err(refuse(format!("has more than {MOST_LINES} lines; send them in parts")));
    }
    Ok(lines.into_iter().map(|(number, line)| (number, offered(line, scheme))).collect())
}

fn offered(line: &str, scheme: Scheme) -> Read {
    let (address, name) = named(line);
    let name = name.map(|name| values::name(&Value::from(name)).map_err(|why| format!("its name {why}")));
    let address = ProxyAddress::parse(address, scheme).map_err(|error| error.to_string())?;
    Ok(Offered { name: name.transpose()?, address })
}

/// A URL may have a name behind it: `socks5://host:1080#exit-de`. Before the last @ a # belongs to
/// the password, and in a line that is no URL it always may.
fn named(line: &str) -> (&str, Option<&str>) {
    let address_from = line.rfind('@').unwrap_or(0);
    let mark = line.get(address_from..).and_then(|rest| rest.find('#')).map(|at| address_from + at);
    match mark {
        Some(at) if line.contains("://") => {
            let (address, name) = line.split_at_checked(at).unwrap_or((line, ""));
            (address.trim_end(), Some(name.strip_prefix('#').unwrap_or(name)))
        }
        Some(_) | None => (line, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<(usize, Result<String, String>)> {
        let shown = |offered: Offered| {
            let credentials = offered.address.credentials.as_ref();
            let login =
                credentials.map_or(String::new(), |c| format!("{}:{}@", c.username, c.password.expose()));
            let name = offered.name.map_or(String::new(), |name| format!(" named {name}"));
            format!("{}://{login}{}{name}", offered.address.scheme, offered.address.host_and_port())
        };
        let lines = read(&Bytes::copy_from_slice(text.as_bytes()), Scheme::Socks5).unwrap();
        lines.into_iter().map(|(number, read)| (number, read.map(shown))).collect()
    }

    #[test]
    fn every_form_of_a_line_is_read_and_the_rest_is_skipped() {
        let text = "\u{feff}# exits\r\n\r\nhttp://u:p@h.example:1\r\n  h.example:2  \n\t# more\nh.example:3:u:p#4\n\
                    u:p@h.example:5\nhttps://u:a#b@h.example:6# exit six \nhttp://h.example:7/#seven";
        let want = [
            (3, "http://u:p@h.example:1"),
            (4, "socks5://h.example:2"),
            (6, "socks5://u:p#4@h.example:3"),
            (7, "socks5://u:p@h.example:5"),
            (8, "https://u:a#b@h.example:6 named exit six"),
            (9, "http://h.example:7 named seven"),
        ];
        let want: Vec<_> = want.map(|(number, shown)| (number, Ok(shown.to_owned()))).into();
        assert_eq!(lines(text), want);
    }

    #[test]
    fn a_line_that_is_not_understood_is_told_without_being_repeated() {
        for line in
            ["secret", "http://u:secret@h", "h:99999:u:secret", "http://u:secret@h:1#", "ftp://u:secret@h:1"]
        {
            let [(1, Err(why))] = &lines(line)[..] else { panic!("{line}") };
            assert!(!why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn a_list_has_an_end() {
        let text = |lines: usize| Bytes::from("\n#\nh.example:1".repeat(lines));
        assert_eq!(read(&text(MOST_LINES), Scheme::Http).unwrap().len(), MOST_LINES);
        assert!(read(&text(MOST_LINES + 1), Scheme::Http).is_err());
        assert!(read(&Bytes::from_static(b"h:1\n\xff"), Scheme::Http).is_err());
    }
}
