//! The API's WebSocket, passed on: who asks is judged by the API, as with any request, and once it
//! has agreed this is a pipe.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use axum::response::Response;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use pgw_core::serve::Place;
use tokio::io::copy;

use crate::headers;
use crate::problem::Problem;
use crate::reverse::{Service, Upload, Upstream, hand_back};

/// No other answer becomes anything else than an answer.
const PATH: &str = "/api/v1/ws";
/// Of what was agreed to, this is told; no extension is, for nobody here knows any.
const AGREED: [HeaderName; 2] = [header::SEC_WEBSOCKET_ACCEPT, header::SEC_WEBSOCKET_PROTOCOL];

pub(crate) fn is_asked_for(service: Service, request: &Request) -> bool {
    let headers = request.headers();
    service == Service::Api
        && request.uri().path() == PATH
        && request.method() == Method::GET
        && request.version() == Version::HTTP_11
        // What follows its head would be neither a body nor of a WebSocket.
        && !headers.contains_key(header::CONTENT_LENGTH)
        && says(headers, &header::CONNECTION, "upgrade")
        && says(headers, &header::UPGRADE, "websocket")
}

fn says(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|word| word.trim().eq_ignore_ascii_case(wanted))
}

pub(crate) async fn pass_on(
    upstream: &Upstream,
    peer: SocketAddr,
    mut request: Request,
) -> Result<Response, Problem> {
    let near = hyper::upgrade::on(&mut request);
    let place = request.extensions_mut().remove::<Place>();
    let (head, _no_body) = request.into_parts();
    let mut asked = headers::for_upstream(head.headers, peer.ip());
    asked.remove(header::SEC_WEBSOCKET_EXTENSIONS);
    asked.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    asked.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let onward = upstream.get(head.uri.path(), head.uri.query()).headers(asked);
    let answer = Upload::default().answer(onward.send()).await.map_err(|why| upstream.unanswered(&why))?;
    upstream.answered();
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(hand_back(answer, upstream.mount()));
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let told = response.headers_mut();
    for name in AGREED {
        if let Some(value) = answer.headers().get(&name) {
            told.insert(name, value.clone());
        }
    }
    told.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    told.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    tokio::spawn(async move {
        carry(near, answer).await;
        // As long as it lasts it counts among the connections.
        drop(place);
    });
    Ok(response)
}

/// Until one of them ends: a WebSocket is not closed by halves.
async fn carry(near: OnUpgrade, answer: reqwest::Response) {
    let (Ok(near), Ok(far)) = tokio::join!(near, answer.upgrade()) else { return };
    let (mut from_near, mut to_near) = tokio::io::split(TokioIo::new(near));
    let (mut from_far, mut to_far) = tokio::io::split(far);
    tokio::select! {
        _ended = copy(&mut from_far, &mut to_near) => {}
        _ended = copy(&mut from_near, &mut to_far) => {}
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::any;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;
    use crate::played::ui_before;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    /// Agrees, says how it was asked, and says everything back until it hears a q.
    async fn echo(mut request: Request) -> Response {
        let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let asked = format!(
            "{:?} {:?} {:?};",
            header("origin"),
            header("x-forwarded-host"),
            header("sec-websocket-extensions")
        );
        let mut response = Response::new(Body::empty());
        if header("upgrade").is_none() || header("cookie").is_some_and(|cookie| cookie.contains("stranger")) {
            *response.status_mut() = StatusCode::FORBIDDEN;
            return response;
        }
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut io = TokioIo::new(upgrade.await.unwrap());
            io.write_all(asked.as_bytes()).await.unwrap();
            let mut byte = [0];
            while io.read_exact(&mut byte).await.is_ok() && byte != *b"q" {
                io.write_all(&byte).await.unwrap();
            }
        });
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, HeaderValue::from_static("agreed"));
        response
    }

    async fn ask(path: &str, other: &str) -> (TcpStream, String) {
        let address = ui_before(Router::new().fallback(any(echo))).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\
             Origin: http://h\r\n{other}\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        (stream, String::from_utf8(head).unwrap())
    }

    #[tokio::test]
    async fn what_the_api_agrees_to_is_a_pipe_until_one_of_them_ends_it() {
        let (mut stream, head) = ask("/api/v1/ws?kind=tunnel.state", "").await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(
            head.contains("sec-websocket-accept: agreed") && head.contains("upgrade: websocket"),
            "{head}"
        );
        let want = "Some(\"http://h\") Some(\"h\") None;";
        let mut said = vec![0; want.len()];
        stream.read_exact(&mut said).await.unwrap();
        assert_eq!(String::from_utf8(said).unwrap(), want, "by it the API knows whose page it is");
        let mut heard = [0; 5];
        stream.write_all(b"hello").await.unwrap();
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
        stream.write_all(b"q").await.unwrap();
        assert_eq!(stream.read(&mut heard).await.unwrap(), 0, "its end is the end");
    }

    #[tokio::test]
    async fn whom_the_api_refuses_is_told_so_and_nothing_else_becomes_a_pipe() {
        for (path, other) in [
            ("/api/v1/ws", "Cookie: pgw_session=stranger\r\n"),
            ("/api/v1/ws", "Content-Length: 0\r\n"),
            ("/api/v1/events", ""),
            ("/api/v1/ws/", ""),
        ] {
            let (_stream, head) = ask(path, other).await;
            assert!(head.starts_with("HTTP/1.1 403 "), "{path} {other}: {head}");
        }
        let (_stream, head) = ask("/agent/v1/ws", "").await;
        assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
        let (_stream, head) = ask("/api/v1/../v1/ws", "").await;
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    }
}
