//! One attempt to tell somebody.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Client, StatusCode, header};

use super::sign::Signed;

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// From the first byte to the last of the answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// What a receiver has to say beyond its status is read, so that its connection can be used again,
/// but not for long.
const LARGEST_ANSWER: usize = 64 * 1024;

/// It was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotTaken {
    /// The receiver wants nothing more, ever.
    Gone,
    Failed {
        why: String,
        /// So long the receiver wants to be left alone.
        wait: Option<Duration>,
    },
}

#[async_trait]
pub trait Post: Send + Sync {
    /// Answers with the receiver's status.
    async fn post(&self, url: &str, signed: &Signed, body: Vec<u8>) -> Result<u16, NotTaken>;
}

pub struct Http {
    client: Client,
}

impl Http {
    pub fn new() -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT_WITHIN)
            .timeout(ANSWER_WITHIN)
            // A signed message goes where its operator said, and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("pgw/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client })
    }
}

#[async_trait]
impl Post for Http {
    async fn post(&self, url: &str, signed: &Signed, body: Vec<u8>) -> Result<u16, NotTaken> {
        let request = self
            .client
            .post(url)
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", &signed.id)
            .header("webhook-timestamp", &signed.timestamp)
            .header("webhook-signature", &signed.signature)
            .body(body);
        let mut answer = request.send().await.map_err(|error| failed(&error))?;
        let status = answer.status();
        let wait = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let mut read = 0;
        while read < LARGEST_ANSWER {
            match answer.chunk().await {
                Ok(Some(piece)) => read += piece.len(),
                // Its status is what counts.
                Ok(None) | Err(_) => break,
            }
        }
        match status {
            _ if status.is_success() => Ok(status.as_u16()),
            StatusCode::GONE => Err(NotTaken::Gone),
            _ if status.is_redirection() => {
                let why = format!("it answered {}; redirects are not followed", status.as_u16());
                Err(NotTaken::Failed { why, wait: None })
            }
            _ => {
                let why = format!("it answered {}", status.as_u16());
                Err(NotTaken::Failed { why, wait: wait.map(Duration::from_secs) })
            }
        }
    }
}

/// Never with the address, which may be a secret in itself.
fn failed(error: &reqwest::Error) -> NotTaken {
    let why = match () {
        () if error.is_connect() && error.is_timeout() => {
            format!("no connection within {} s", CONNECT_WITHIN.as_secs())
        }
        () if error.is_timeout() => format!("no answer within {} s", ANSWER_WITHIN.as_secs()),
        () => pgw_core::cause::root(error),
    };
    NotTaken::Failed { why, wait: None }
}
