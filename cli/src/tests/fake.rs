//! A gateway that answers what a test says and remembers what it was asked, and an operator who
//! types at it.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{self, Write};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use clap::Parser as _;
use serde_json::Value;
use tokio::net::TcpListener;

use super::described::mistake;
use crate::args::Arguments;
use crate::desk::Desk;
use crate::error::Error;

/// Answers by "GET /v1/proxies"; the last one of several is given again and again.
#[derive(Default)]
pub(crate) struct Fake {
    answers: HashMap<String, VecDeque<(u16, String)>>,
    asked: Vec<Asked>,
    /// Calls that no gateway would understand.
    mistakes: Vec<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Method, path and query.
    pub(crate) line: String,
    pub(crate) token: String,
    pub(crate) if_match: String,
    pub(crate) content_type: String,
    pub(crate) body: Value,
}

pub(crate) struct Gateway {
    pub(crate) url: String,
    fake: Arc<Mutex<Fake>>,
}

pub(crate) struct Told {
    pub(crate) code: u8,
    pub(crate) out: String,
    pub(crate) err: String,
}

#[derive(Clone, Default)]
struct Paper(Rc<RefCell<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Fake {
    pub(crate) fn on(mut self, call: &str, status: u16, body: Value) -> Self {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        self.answers.entry(call.to_owned()).or_default().push_back((status, text));
        self
    }

    pub(crate) async fn start(self) -> Gateway {
        let fake = Arc::new(Mutex::new(self));
        let router = Router::new().fallback(answer).with_state(fake.clone());
        Gateway { url: serve(router).await, fake }
    }
}

pub(crate) async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn answer(
    State(fake): State<Arc<Mutex<Fake>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let header =
        |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let body = serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into());
    let mut fake = fake.lock().unwrap();
    fake.mistakes.extend(mistake(method.as_str(), uri.path(), uri.query().unwrap_or_default(), &body));
    fake.asked.push(Asked {
        line: format!("{method} {uri}"),
        token: header(header::AUTHORIZATION),
        if_match: header(header::IF_MATCH),
        content_type: header(header::CONTENT_TYPE),
        body,
    });
    let Some(answers) = fake.answers.get_mut(&format!("{method} {}", uri.path())) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let (status, text) =
        if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() }.unwrap();
    (StatusCode::from_u16(status).unwrap(), text).into_response()
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.fake.lock().unwrap().mistakes, Vec::<String>::new());
        }
    }
}

impl Gateway {
    pub(crate) async fn pgw(&self, line: &str) -> Told {
        self.pgw_with(line, "").await
    }

    /// With this on standard input.
    pub(crate) async fn pgw_with(&self, line: &str, input: &str) -> Told {
        pgw(&self.url, line, input).await
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.fake.lock().unwrap().asked.clone()
    }

    /// What changes something, in its order.
    pub(crate) fn writes(&self) -> Vec<Asked> {
        self.asked().into_iter().filter(|asked| !asked.line.starts_with("GET ")).collect()
    }

    pub(crate) fn written_lines(&self) -> Vec<String> {
        self.writes().into_iter().map(|asked| asked.line).collect()
    }
}

/// Words are parted by spaces; nothing is quoted.
pub(crate) async fn pgw(url: &str, line: &str, input: &str) -> Told {
    let words = ["pgw", "--url", url, "--agent-url", url].into_iter().chain(line.split(' '));
    let arguments = Arguments::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
    let (out, err) = (Paper::default(), Paper::default());
    let mut desk = Desk {
        out: Box::new(out.clone()),
        err: Box::new(err.clone()),
        input: Box::new(io::Cursor::new(input.as_bytes().to_vec())),
        format: arguments.global.output,
        look: None,
        asks: false,
        watched: false,
    };
    let home = tempfile::tempdir().unwrap();
    let home = home.path().display().to_string();
    let source =
        BTreeMap::from([("HOME", home.as_str()), ("PGW_TOKEN", "t0ken"), ("PGW_STATE_DIR", home.as_str())]);
    let done: Result<(), Error> = arguments.run(&source, &mut desk).await;
    let text = |paper: &Paper| String::from_utf8(paper.0.borrow().clone()).unwrap();
    let mut told = Told { code: 0, out: text(&out), err: text(&err) };
    if let Err(error) = done {
        told.code = error.code();
        if !error.is_told() {
            told.err.push_str(&format!("pgw: {error}\n"));
        }
    }
    told
}

pub(crate) fn page(items: Value) -> Value {
    serde_json::json!({"items": items, "next_cursor": null})
}
