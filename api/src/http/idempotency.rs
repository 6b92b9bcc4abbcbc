//! `Idempotency-Key`: whoever did not hear the answer asks again, and nothing is done twice.

use std::sync::Arc;

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};

use super::Api;
use super::auth::{Caller, Who};
use super::error::{Error, FieldError};
use super::input::all_of;
use crate::store::{Claim, Reply};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAY: HeaderName = HeaderName::from_static("idempotent-replay");
const LONGEST_KEY: usize = 128;
/// A longer answer is not kept, and what was asked may then be done again: only the plan of a
/// large document can be so long, and to apply that twice does nothing the second time.
const LARGEST_REPLY: usize = 1024 * 1024;
/// What belongs to the answer. A cookie is for the one who was there.
const KEPT: [HeaderName; 3] = [header::CONTENT_TYPE, header::LOCATION, header::ETAG];

/// Runs as part of the write, so that the answer is kept also if its caller has gone.
pub(super) async fn once(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    let Some(given) = key(request.method(), request.headers())? else {
        return Ok(next.run(request).await);
    };
    let given = given.to_owned();
    let (parts, body) = request.into_parts();
    let body = all_of(Request::from_parts(parts.clone(), body)).await?;
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    let place = digest(&[&identity(&caller), target.as_bytes(), given.as_bytes()]);
    let kind = parts.headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let whole = digest(&[&place, kind, &body]);
    match api.store.claim_reply(&place, &whole).await? {
        Claim::Yours => {}
        Claim::Replied(reply) => return Ok(replayed(reply)),
        Claim::OtherRequest => return Err(Error::KeyReused),
        Claim::UnderWay => return Err(Error::KeyInProgress),
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    keep(&api, &place, &whole, response).await
}

fn key<'a>(method: &Method, headers: &'a HeaderMap) -> Result<Option<&'a str>, Error> {
    let mut given = headers.get_all(KEY).iter();
    let Some(first) = given.next().filter(|_| *method == Method::POST) else { return Ok(None) };
    let fits =
        |key: &&str| (1..=LONGEST_KEY).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    let key = first.to_str().ok().filter(fits).filter(|_| given.next().is_none());
    let detail = format!("must be 1 to {LONGEST_KEY} visible ASCII characters, once");
    key.map(Some).ok_or_else(|| Error::Validation(vec![FieldError::new("Idempotency-Key", detail)]))
}

/// A person, whichever of their sessions it is; or a token.
fn identity(caller: &Caller) -> Vec<u8> {
    match &caller.who {
        Who::User { user, .. } => [b"user", user.id.0.as_bytes().as_slice()].concat(),
        Who::Token { id, .. } => [b"token", id.0.as_bytes().as_slice()].concat(),
        Who::Settings => b"settings".to_vec(),
        Who::Agent => b"agent".to_vec(),
    }
}

/// Of the parts and of where each of them ends.
fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// What failed has done nothing, and may be tried again with the same key.
async fn keep(api: &Api, place: &[u8; 32], whole: &[u8; 32], response: Response) -> Result<Response, Error> {
    let fits = response.body().size_hint().upper().is_some_and(|size| size <= LARGEST_REPLY as u64);
    if !response.status().is_success() || !fits {
        release(api, place).await;
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, LARGEST_REPLY).await.map_err(Error::BrokenBody)?;
    let headers = KEPT
        .iter()
        .filter_map(|name| Some((name.to_string(), parts.headers.get(name)?.to_str().ok()?.to_owned())));
    let reply = Reply {
        status: parts.status.as_u16(),
        headers: headers.collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    // It is done and is answered as done. Asked again, it says that it is under way; and after a
    // while that the name is taken.
    if let Err(error) = api.store.keep_reply(place, whole, &reply).await {
        tracing::warn!(%error, "an answer cannot be kept for whoever asks again");
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

async fn release(api: &Api, place: &[u8; 32]) {
    if let Err(error) = api.store.release_reply(place).await {
        tracing::warn!(%error, "an Idempotency-Key cannot be given back; it is, in a few minutes");
    }
}

fn replayed(reply: Reply) -> Response {
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or_default();
    for (name, value) in reply.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response.headers_mut().insert(REPLAY, HeaderValue::from_static("true"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_bounded_given_once_and_for_posts() {
        let long = "x".repeat(LONGEST_KEY + 1);
        for (method, keys, want) in [
            (Method::POST, vec!["8e03978e-40d5-43dd-bc93-6894a57f9324"], Ok(true)),
            (Method::POST, vec![], Ok(false)),
            (Method::PATCH, vec!["two words"], Ok(false)),
            (Method::POST, vec![""], Err(())),
            (Method::POST, vec!["two words"], Err(())),
            (Method::POST, vec!["a", "b"], Err(())),
            (Method::POST, vec![long.as_str()], Err(())),
        ] {
            let headers: HeaderMap =
                keys.iter().map(|key| (KEY, HeaderValue::try_from(*key).unwrap())).collect();
            let found = key(&method, &headers).map(|key| key.is_some()).map_err(drop);
            assert_eq!(found, want, "{method} {keys:?}");
        }
    }

    #[test]
    fn parts_that_run_into_each_other_are_told_apart() {
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
    }
}
