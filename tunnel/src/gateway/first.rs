//! The first words of a client's connection, and what becomes of it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use pgw_core::tunnel::Event;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::accept::HELLO;
use super::http::{Body, nothing};
use super::lanes;
use super::session::{Newcomer, Session};
use super::strangers::Place;
use super::{Gateway, admit};
use crate::carrier::websocket::WebSocket;
use crate::carrier::{Io, mux};
use crate::secret;
use crate::wire::hello::{First, Hello, Join, Kind, Refusal, RefusalCode, Reply, Welcome};
use crate::wire::word::GatewayWord;
use crate::wire::{PROTOCOL, WEBSOCKET_PATH, line};

/// Of a name that is told in a log or an event.
const NAME: usize = 64;

/// What a client came by.
pub(super) enum Carrier {
    Tls,
    WebSocket,
    Quic(quinn::Connection),
}

impl Carrier {
    fn name(&self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::WebSocket => "websocket",
            Self::Quic(_) => "quic",
        }
    }
}

/// Hears what the connection is for, and serves it.
pub(super) async fn meet(
    gateway: Arc<Gateway>,
    mut io: impl Io + 'static,
    peer: SocketAddr,
    carrier: Carrier,
    place: Place,
) {
    let first = match timeout(HELLO, line::read::<First>(&mut io)).await {
        Ok(Ok(first)) => first,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
            return refuse(&gateway, io, peer, "", RefusalCode::NotUnderstood).await;
        }
        _ => return,
    };
    drop(place);
    match first {
        First::Hello(hello) => begin(gateway, io, peer, carrier, hello).await,
        First::Join(join) => joined(&gateway, io, &join).await,
    }
}

async fn begin(
    gateway: Arc<Gateway>,
    io: impl Io + 'static,
    peer: SocketAddr,
    carrier: Carrier,
    hello: Hello,
) {
    let name: String = hello.client.chars().filter(|c| c.is_ascii_graphic()).take(NAME).collect();
    let carried = carrier.name();
    let (session, spoken) = match gateway.admit(&hello, peer, carried) {
        Ok(admitted) => admitted,
        Err(code) => return refuse(&gateway, io, peer, &name, code).await,
    };
    if let Carrier::Quic(connection) = carrier {
        session.travels_on(connection);
    }
    let mut io = io;
    // Before it is told: its other connections come at once.
    gateway.arrive(&session, &hello);
    let welcome = Reply::Welcome(Welcome {
        protocol: PROTOCOL,
        session: session.id,
        secret: session.secret.clone(),
        max_lanes: u32::try_from(lanes::MOST).unwrap_or(0),
        filter: gateway.house().desired.filter.clone(),
    });
    if !matches!(timeout(HELLO, line::write(&mut io, &welcome)).await, Ok(Ok(()))) {
        session.end("it did not hear that it is welcome");
    }
    tracing::info!(client = session.name, session = %session.id, address = %peer, carrier = carried,
        version = session.version, "client online");
    let client = session.client;
    let closes = |index| gateway.close_asked(&session, index);
    let left = session.talk(io, spoken, closes).await;
    tracing::info!(client = session.name, id = %client, session = %session.id, reason = session.reason(), "client offline");
    gateway.leave(&session, left);
}

async fn refuse(gateway: &Gateway, mut io: impl Io, peer: SocketAddr, name: &str, code: RefusalCode) {
    tracing::warn!(address = %peer, name, code = code.as_str(), "client refused");
    let (name, words) = (name.to_owned(), code.as_str().to_owned());
    gateway.tell(Event::Refused { address: peer, name, code: words });
    let _gone = timeout(HELLO, line::write(&mut io, &Reply::Refused(Refusal::from(code)))).await;
    let _gone = timeout(HELLO, tokio::io::AsyncWriteExt::shutdown(&mut io)).await;
}

/// One more connection of a session. Who has no right to it is hung up on.
async fn joined(gateway: &Gateway, io: impl Io + 'static, join: &Join) {
    let session = {
        let house = gateway.house();
        house.sessions.values().find(|session| session.id == join.session).cloned()
    };
    let same = |session: &Arc<Session>| {
        bool::from(subtle::ConstantTimeEq::ct_eq(
            session.secret.expose().as_bytes(),
            join.secret.expose().as_bytes(),
        ))
    };
    let Some(session) = session.filter(same) else { return };
    match join.kind {
        Kind::Lane => {
            let _enough = session.add_lane(io);
        }
        Kind::Mux => {
            let (opener, driver) = mux::opener(io);
            if session.add_mux(opener) {
                tokio::select! {
                    error = driver => tracing::debug!(session = %session.id, %error, "a carrier ended"),
                    () = session.over.cancelled() => {}
                }
            }
        }
    }
}

impl Gateway {
    fn admit(
        &self,
        hello: &Hello,
        address: SocketAddr,
        carrier: &'static str,
    ) -> Result<(Arc<Session>, tokio::sync::mpsc::Receiver<GatewayWord>), RefusalCode> {
        if self.draining.is_cancelled() {
            return Err(RefusalCode::Draining);
        }
        let desired = self.house().desired.clone();
        let admitted = admit::judge(hello, &desired, &self.keep.enrolled(), Timestamp::now())?;
        if let Some(enrolled) = admitted.enrolled {
            match self.keep.enrol(enrolled.clone()) {
                Ok(true) => {}
                Ok(false) => return Err(RefusalCode::Enrolment),
                Err(error) => {
                    tracing::error!(%error, "an enrolment cannot be kept");
                    return Err(RefusalCode::Unable);
                }
            }
            tracing::info!(client = admitted.client.name, enrolment = %enrolled.enrolment, "client enrolled");
            self.tell(Event::Enrolled(enrolled));
        }
        let newcomer = Newcomer {
            client: admitted.client.id,
            name: admitted.client.name.clone(),
            address,
            version: hello.version.chars().filter(|c| c.is_ascii_graphic()).take(NAME).collect(),
            carrier,
            secret: secret::random().map_err(|_error| RefusalCode::Unable)?,
            token: secret::hash(&hello.token).ok_or(RefusalCode::Unable)?,
        };
        Ok(Session::new(newcomer))
    }

    /// A session begins; an older one of the same client gives way.
    fn arrive(&self, session: &Arc<Session>, hello: &Hello) {
        let mut house = self.house();
        if let Some(older) = house.sessions.insert(session.client, session.clone()) {
            older.say(GatewayWord::Replaced);
            older.end("replaced by a newer session");
        }
        house.asked.entry(session.client).or_default().begin(&hello.open_ports);
        // It may have lost its access since it was judged.
        self.send_away(&mut house);
        drop(house);
        self.tell(Event::ClientOnline { client: session.client, session: session.status() });
        self.changed.notify_one();
    }

    fn leave(&self, session: &Arc<Session>, took_leave: bool) {
        let mut house = self.house();
        // A newer session may be there already, with the ports.
        if house.sessions.get(&session.client).is_some_and(|now| now.id == session.id) {
            house.sessions.remove(&session.client);
            if took_leave {
                house.asked.remove(&session.client);
            } else if let Some(asked) = house.asked.get_mut(&session.client) {
                asked.gone = Some(Instant::now());
            }
        }
        drop(house);
        let reason = session.reason();
        self.tell(Event::ClientOffline { client: session.client, session: session.status(), reason });
        self.changed.notify_one();
    }

    fn close_asked(&self, session: &Session, index: u32) {
        if let Some(asked) = self.house().asked.get_mut(&session.client) {
            asked.close(index);
        }
        self.changed.notify_one();
    }
}

/// A connection that becomes a WebSocket.
pub(super) struct Upgraded(hyper::upgrade::OnUpgrade);

impl Upgraded {
    pub(super) async fn websocket(self) -> hyper::Result<WebSocket<TokioIo<hyper::upgrade::Upgraded>>> {
        Ok(WebSocket::over(TokioIo::new(self.0.await?), Role::Server).await)
    }
}

pub(super) fn upgrade(
    mut request: Request<Incoming>,
    given: &Mutex<Option<oneshot::Sender<Upgraded>>>,
) -> Response<Body> {
    let mut answer = Response::new(nothing());
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
    let key = key.and_then(|key| HeaderValue::from_str(&key).ok());
    let wish = given.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (Some(key), Some(wish), WEBSOCKET_PATH) = (key, wish, request.uri().path()) else {
        *answer.status_mut() = StatusCode::NOT_FOUND;
        return answer;
    };
    let _gone = wish.send(Upgraded(hyper::upgrade::on(&mut request)));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let fields = answer.headers_mut();
    fields.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    fields.insert(header::SEC_WEBSOCKET_ACCEPT, key);
    answer
}
