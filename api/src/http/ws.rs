//! `/v1/ws`: what `/v1/events` streams, for programs that would rather have a WebSocket.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::{SinkExt as _, Stream, StreamExt as _};
use hyper_util::rt::TokioIo;
use pgw_core::browser::Whence;
use pgw_core::ids::ClientId;
use pgw_core::serve::Place;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::auth::{Caller, Given};
use super::doors;
use super::error::{Error, FieldError};
use super::events::{Following, reader};
use super::input::Params;
use crate::events::frame::message;

/// Nothing is said to us but that somebody leaves.
const LONGEST: usize = 4096;
/// Whoever takes nothing for so long is gone.
const STALLED: Duration = Duration::from_secs(60);

pub(super) fn router() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(follow))
}

/// The events of /v1/events as text messages: `{"id", "event", "data"}`, with the same parameters, and a
/// ping every 15 s. What is sent here is not read.
#[utoipa::path(get, path = "/v1/ws", tag = "events_by_websocket",
    params(
        ("after" = Option<i64>, Query, minimum = 0, description = "The last event that is known"),
        ("kind" = Option<String>, Query, description = "Kinds, separated by commas"),
        ("client_id" = Option<ClientId>, Query),
    ),
    responses((status = 101)))]
async fn follow(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Params(mut fields): Params,
    mut request: Request,
) -> Result<Response, Error> {
    // A browser sends the cookie along from any page of this site, and asks nobody before.
    let foreign = doors::asked(request.headers()).whence() != Whence::Ours;
    if matches!(caller.given, Given::Cookie(_)) && foreign {
        return Err(Error::ForeignOrigin);
    }
    let following = Following::asked(&mut fields);
    fields.finish()?;
    let accept = accept(request.headers())?;
    let events = reader(&api, &caller, following, None).await?.stream();
    let place = request.extensions_mut().remove::<Place>();
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(io) = upgrade.await {
            let config =
                WebSocketConfig::default().max_message_size(Some(LONGEST)).max_frame_size(Some(LONGEST));
            let socket = WebSocketStream::from_raw_socket(TokioIo::new(io), Role::Server, Some(config)).await;
            carry(events, socket).await;
        }
        // As long as it lasts it counts among the connections.
        drop(place);
    });
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    answer.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    answer.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok(answer)
}

fn accept(headers: &HeaderMap) -> Result<HeaderValue, Error> {
    let says = |name, wanted: &str| {
        let value = headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
        value.split(',').any(|word| word.trim().eq_ignore_ascii_case(wanted))
    };
    let asks = says(header::UPGRADE, "websocket")
        && says(header::CONNECTION, "upgrade")
        && says(header::SEC_WEBSOCKET_VERSION, "13");
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| asks);
    let accept = key.and_then(|key| HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok());
    accept.ok_or_else(|| {
        Error::Validation(vec![FieldError::new("Upgrade", "must ask for a websocket, version 13")])
    })
}

async fn carry<I>(
    events: impl Stream<Item = Result<Bytes, std::convert::Infallible>>,
    socket: WebSocketStream<I>,
) where
    I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let (mut to, mut from) = socket.split();
    let mut events = std::pin::pin!(events);
    loop {
        let next = tokio::select! {
            event = events.next() => match event {
                Some(Ok(block)) => message(&block).map_or_else(|| Message::Ping(Bytes::new()), Message::text),
                None => Message::Close(None),
            },
            heard = from.next() => match heard {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                // Pings are answered by the library, with the next word.
                Some(Ok(_)) => continue,
            },
        };
        let last = next.is_close();
        if !matches!(timeout(STALLED, to.send(next)).await, Ok(Ok(()))) || last {
            return;
        }
    }
}
