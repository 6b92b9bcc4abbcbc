//! Asking the REST API. Nothing is sent twice: what was not answered may have been done, and the
//! message says so.

use std::time::Duration;

use pgw_core::cause;
use pgw_core::redact::Secret;
use reqwest::{Client, Method, RequestBuilder, Response, header};
use serde_json::Value;

use crate::error::Error;
use crate::place::{Place, Token};
use crate::problem::Problem;

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// The API itself gives up after 30 s, and says so.
const ANSWER_WITHIN: Duration = Duration::from_secs(40);
/// The largest document is 16 MiB, and a page of a list far less.
const LARGEST_ANSWER: usize = 64 << 20;
const PAGE: usize = 500;

pub(crate) struct Gateway {
    http: Client,
    url: String,
    agent_url: String,
    is_here: bool,
    token: Option<Secret>,
}

/// A question that is being put together.
pub(crate) struct Call<'a> {
    gateway: &'a Gateway,
    method: Method,
    url: String,
    query: Vec<(&'static str, String)>,
    headers: Vec<(header::HeaderName, String)>,
    body: Option<Vec<u8>>,
    /// None: for ever, for what is followed.
    patience: Option<Duration>,
}

impl Gateway {
    pub(crate) fn new(place: Place) -> Result<Self, Error> {
        // Whoever installed one first has the same one.
        let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let is_here = place.is_here();
        let client = Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT_WITHIN)
            // A token goes where its owner said, and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("pgw/", env!("CARGO_PKG_VERSION")))
            .build();
        let http = client.map_err(|error| Error::Failed(format!("no HTTP: {}", cause::root(&error))))?;
        let token = place.token.map(|Token { secret, .. }| secret);
        Ok(Self { http, url: place.url, agent_url: place.agent_url, is_here, token })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn is_here(&self) -> bool {
        self.is_here
    }

    pub(crate) fn call(&self, method: Method, path: &str) -> Call<'_> {
        self.ask(method, format!("{}{path}", self.url))
    }

    pub(crate) fn call_agent(&self, method: Method, path: &str) -> Call<'_> {
        self.ask(method, format!("{}{path}", self.agent_url))
    }

    fn ask(&self, method: Method, url: String) -> Call<'_> {
        let patience = Some(ANSWER_WITHIN);
        Call { gateway: self, method, url, query: Vec::new(), headers: Vec::new(), body: None, patience }
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, Error> {
        self.call(Method::GET, path).value().await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, Error> {
        self.call(Method::POST, path).json(body).value().await
    }

    /// Of a thing as it was read: if somebody has changed it since, it is not changed again.
    pub(crate) async fn change(&self, path: &str, thing: &Value, changes: &Value) -> Result<Value, Error> {
        self.call(Method::PATCH, &below(path, thing)).meaning(thing).json(changes).value().await
    }

    pub(crate) async fn remove(&self, path: &str, thing: &Value, cascade: bool) -> Result<Value, Error> {
        let call = self.call(Method::DELETE, &below(path, thing)).meaning(thing);
        call.flag("cascade", cascade).value().await
    }

    /// A list that is mostly on one page, all of it.
    pub(crate) async fn whole(&self, path: &str) -> Result<Vec<Value>, Error> {
        self.pages(path, &[], usize::MAX, None).await
    }

    /// All pages of a list, up to so many things.
    pub(crate) async fn all(
        &self,
        path: &str,
        query: &[(&'static str, Option<String>)],
        most: usize,
    ) -> Result<Vec<Value>, Error> {
        self.pages(path, query, most, Some(PAGE)).await
    }

    /// `page`: how many are asked for at once, if it is not the API's choice.
    async fn pages(
        &self,
        path: &str,
        query: &[(&'static str, Option<String>)],
        most: usize,
        page: Option<usize>,
    ) -> Result<Vec<Value>, Error> {
        let mut found = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let limit = page.map(|page| page.min(most - found.len()).to_string());
            let mut call = self.call(Method::GET, path).query("limit", limit);
            for (name, value) in query {
                call = call.query(name, value.clone());
            }
            let mut answer = call.query("cursor", cursor.take()).value().await?;
            if let Some(Value::Array(items)) = answer.get_mut("items").map(Value::take) {
                found.extend(items);
            }
            found.truncate(most);
            cursor = answer.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
            if cursor.is_none() || found.len() == most {
                return Ok(found);
            }
        }
    }
}

/// Where a thing of a list stands; what has no id is known by its name.
pub(crate) fn below(path: &str, thing: &Value) -> String {
    let key = match field(thing, "id") {
        "" => field(thing, "name"),
        id => id,
    };
    format!("{path}/{}", encoded(key))
}

pub(crate) fn field<'a>(thing: &'a Value, name: &str) -> &'a str {
    thing.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// One value of a query, or one segment of a path.
pub(crate) fn encoded(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            safe.push(char::from(byte));
        } else {
            safe.push_str(&format!("%{byte:02X}"));
        }
    }
    safe
}

impl Call<'_> {
    pub(crate) fn query(mut self, name: &'static str, value: Option<String>) -> Self {
        self.query.extend(value.map(|value| (name, value)));
        self
    }

    pub(crate) fn flag(self, name: &'static str, is_set: bool) -> Self {
        self.query(name, is_set.then(|| "true".to_owned()))
    }

    pub(crate) fn header(mut self, name: header::HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn meaning(self, thing: &Value) -> Self {
        match thing.get("revision").and_then(Value::as_i64) {
            Some(revision) => self.header(header::IF_MATCH, format!("\"{revision}\"")),
            None => self,
        }
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string().into_bytes())
    }

    pub(crate) fn body(mut self, kind: &str, body: Vec<u8>) -> Self {
        self.body = Some(body);
        self.header(header::CONTENT_TYPE, kind)
    }

    pub(crate) fn without_end(mut self) -> Self {
        self.patience = None;
        self
    }

    /// What was answered well, as JSON; null where nothing was to be said.
    pub(crate) async fn value(self) -> Result<Value, Error> {
        let url = self.url.clone();
        let body = self.answer().await?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body)
            .map_err(|_error| Error::Failed(format!("{url} answers, and not as a gateway of pgw does")))
    }

    /// What was answered well.
    pub(crate) async fn answer(self) -> Result<Vec<u8>, Error> {
        let (status, body) = self.outcome().await?;
        if (200..300).contains(&status) { Ok(body) } else { Err(refused(status, &body)) }
    }

    /// Whatever was answered.
    pub(crate) async fn outcome(self) -> Result<(u16, Vec<u8>), Error> {
        let url = self.url.clone();
        let mut response = self.open().await?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| broken(&url, &error))? {
            if body.len() + piece.len() > LARGEST_ANSWER {
                return Err(Error::Failed(format!("{url} answers with more than 64 MiB")));
            }
            body.extend_from_slice(&piece);
        }
        Ok((status, body))
    }

    /// The beginning of an answer, for what is followed.
    pub(crate) async fn open(self) -> Result<Response, Error> {
        let url = self.url.clone();
        let is_write = self.method != Method::GET;
        self.request().send().await.map_err(|error| unreachable(&url, is_write, &error))
    }

    fn request(self) -> RequestBuilder {
        let mut url = self.url;
        for (number, (name, value)) in self.query.iter().enumerate() {
            let join = if number == 0 { '?' } else { '&' };
            url.push_str(&format!("{join}{name}={}", encoded(value)));
        }
        let mut request = self.gateway.http.request(self.method, url);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        if let Some(token) = &self.gateway.token {
            request = request.bearer_auth(token.expose());
        }
        if let Some(patience) = self.patience {
            request = request.timeout(patience);
        }
        match self.body {
            Some(body) => request.body(body),
            None => request,
        }
    }
}

pub(crate) fn refused(status: u16, body: &[u8]) -> Error {
    Error::Refused(Box::new(Problem::read(status, body)))
}

fn unreachable(url: &str, is_write: bool, error: &reqwest::Error) -> Error {
    let why = if error.is_timeout() { "no answer in time".to_owned() } else { cause::root(error) };
    // It may have got there, and only the answer may be missing.
    let doubt = if is_write && !error.is_connect() {
        "\n  it may have been done all the same: look before you repeat it"
    } else {
        ""
    };
    Error::Unreachable(format!("{url} does not answer: {why}{doubt}"))
}

fn broken(url: &str, error: &reqwest::Error) -> Error {
    Error::Unreachable(format!("the answer of {url} broke off: {}", cause::root(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_a_query_cannot_become_anything_else() {
        assert_eq!(encoded("a&b=c#d e/f?g%"), "a%26b%3Dc%23d%20e%2Ff%3Fg%25");
        assert_eq!(encoded("büro-1_~."), "b%C3%BCro-1_~.");
    }
}
