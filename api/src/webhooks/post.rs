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
        Self::within(ANSWER_WITHIN)
    }

    fn within(patience: Duration) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT_WITHIN)
            .timeout(patience)
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
        let wait =
            answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
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
        () if error.is_timeout() => "no answer in time".to_owned(),
        () => pgw_core::cause::root(error),
    };
    NotTaken::Failed { why, wait: None }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::body::{Body, Bytes};
    use axum::http::HeaderMap;
    use axum::response::{IntoResponse, Response};
    use axum::routing::post;
    use futures_util::stream;
    use jiff::Timestamp;
    use pgw_core::redact::Secret;
    use tokio::net::TcpListener;

    use super::*;
    use crate::webhooks::sign::sign;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    async fn receiver(router: Router) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    async fn sent(url: &str) -> Result<u16, NotTaken> {
        let body = b"{}".to_vec();
        let signed = sign(&Secret::new(SECRET), "evt_1", Timestamp::now(), &body).unwrap();
        Http::within(Duration::from_millis(500)).unwrap().post(url, &signed, body).await
    }

    fn why(outcome: Result<u16, NotTaken>) -> String {
        match outcome {
            Err(NotTaken::Failed { why, .. }) => why,
            other => panic!("it was to fail: {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_receiver_can_check_who_sent_what_and_when() {
        let check = |headers: HeaderMap, body: Bytes| async move {
            let header = |name: &str| headers[name].to_str().unwrap().to_owned();
            let at = Timestamp::from_second(header("webhook-timestamp").parse().unwrap()).unwrap();
            let signed = sign(&Secret::new(SECRET), &header("webhook-id"), at, &body).unwrap();
            assert_eq!(header("content-type"), "application/json");
            if signed.signature == header("webhook-signature") {
                StatusCode::NO_CONTENT
            } else {
                StatusCode::UNAUTHORIZED
            }
        };
        let url = receiver(Router::new().route("/", post(check))).await;
        assert_eq!(sent(&url).await, Ok(204));
    }

    #[tokio::test]
    async fn every_way_of_not_taking_it_is_told_apart_and_nothing_is_waited_for_for_long() {
        let reached = Arc::new(AtomicUsize::new(0));
        let count = reached.clone();
        let drips = || async {
            let drop = stream::unfold((), |()| async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Some((Ok::<_, Infallible>("."), ()))
            });
            Body::from_stream(drop).into_response()
        };
        let floods = || async {
            let flood = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from(vec![b'x'; 65_536])));
            Body::from_stream(flood).into_response()
        };
        let hangs = || async {
            std::future::pending::<()>().await;
            Response::new(Body::empty())
        };
        let router = Router::new()
            .route("/moved", post(|| async { (StatusCode::FOUND, [(header::LOCATION, "/elsewhere")]) }))
            .route(
                "/elsewhere",
                post(move || async move {
                    count.fetch_add(1, Ordering::SeqCst);
                }),
            )
            .route("/gone", post(|| async { StatusCode::GONE }))
            .route("/busy", post(|| async { (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "7")]) }))
            .route("/hangs", post(hangs))
            .route("/drips", post(drips))
            .route("/floods", post(floods));
        let url = receiver(router).await;
        let at = |path: &str| format!("{url}/{path}");
        assert!(why(sent(&at("moved")).await).contains("302; redirects are not followed"));
        assert_eq!(reached.load(Ordering::SeqCst), 0);
        assert_eq!(sent(&at("gone")).await, Err(NotTaken::Gone));
        let busy = NotTaken::Failed { why: "it answered 429".into(), wait: Some(Duration::from_secs(7)) };
        assert_eq!(sent(&at("busy")).await, Err(busy));
        assert_eq!(why(sent(&at("nothing")).await), "it answered 404");
        assert_eq!(why(sent(&at("hangs")).await), "no answer in time");
        assert_eq!(sent(&at("drips")).await, Ok(200), "its status is what counts");
        assert_eq!(sent(&at("floods")).await, Ok(200));
    }

    #[tokio::test]
    async fn the_address_may_be_a_secret_and_is_told_in_no_error() {
        // Bound and dropped: nobody listens there.
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let refused = why(sent(&format!("http://{nobody}/T0K3N")).await);
        assert!(refused.contains("refused") && !refused.contains("T0K3N"), "{refused}");
        let unknown = why(sent("http://nobody.invalid/T0K3N").await);
        assert!(!unknown.contains("T0K3N"), "{unknown}");
    }
}
