//! Resolvers that do as the test wants, and a client that asks.

use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_proto::op::{Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use pgw_core::dns::Resolver;
use rustls::HandshakeKind;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::sync::Notify;

use super::fakes::{certified, origin};
use super::*;

/// What all connections to a fake resolver share.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) questions: AtomicUsize,
    pub(super) ids: std::sync::Mutex<Vec<u16>>,
    /// How the connections with TLS began.
    pub(super) handshakes: std::sync::Mutex<Vec<HandshakeKind>>,
    /// Where a resolver that waits is told to go on.
    pub(super) go: Notify,
    /// A connection to it has ended.
    pub(super) gone: Notify,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Mood {
    Answers,
    Waits,
    Refuses,
}

pub(super) struct FakeResolver {
    pub(super) address: SocketAddr,
    pub(super) heard: Arc<Heard>,
}

impl FakeResolver {
    pub(super) async fn tcp(mood: Mood) -> Self {
        let heard = Arc::new(Heard::default());
        let shared = heard.clone();
        let address = origin(move |mut stream| {
            let heard = shared.clone();
            async move {
                while let Ok(question) = read_framed(&mut stream).await {
                    let reply = heard.reply(&question, mood).await;
                    write_framed(&mut stream, &reply).await;
                }
                heard.gone.notify_one();
            }
        })
        .await;
        Self { address, heard }
    }

    /// DNS over HTTPS, and who trusts its certificate.
    pub(super) async fn https() -> (Self, Dialer) {
        let (acceptor, trusting) = certified("192.0.2.53");
        let heard = Arc::new(Heard::default());
        let shared = heard.clone();
        let address = origin(move |stream| {
            let (heard, acceptor) = (shared.clone(), acceptor.clone());
            async move {
                let mut stream = acceptor.accept(stream).await.unwrap();
                heard.handshakes.lock().unwrap().extend(stream.get_ref().1.handshake_kind());
                while let Some(question) = read_post(&mut stream).await {
                    let reply = heard.reply(&question, Mood::Answers).await;
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nContent-Type: application/dns-message\r\nContent-Length: {}\r\n\r\n",
                        reply.len()
                    );
                    stream.write_all(&[head.as_bytes(), &reply].concat()).await.unwrap();
                }
                heard.gone.notify_one();
            }
        })
        .await;
        (Self { address, heard }, Dialer::with_tls(trusting))
    }

    pub(super) fn questions(&self) -> usize {
        self.heard.questions.load(Ordering::SeqCst)
    }

    pub(super) fn resolver(&self) -> Resolver {
        format!("tcp://{}", self.address).parse().unwrap()
    }
}

impl Heard {
    /// Every name has the address 192.0.2.1, and a text too long for a datagram.
    async fn reply(&self, question: &[u8], mood: Mood) -> Vec<u8> {
        let mut message = Message::from_vec(question).unwrap();
        self.ids.lock().unwrap().push(message.metadata.id);
        self.questions.fetch_add(1, Ordering::SeqCst);
        if mood == Mood::Waits {
            self.go.notified().await;
        }
        message.metadata.message_type = MessageType::Response;
        let owner = message.queries[0].name().clone();
        let data = match message.queries[0].query_type() {
            RecordType::TXT => RData::TXT(TXT::new(vec!["x".repeat(200); 10])),
            _ => RData::A(A::new(192, 0, 2, 1)),
        };
        match mood {
            Mood::Refuses => message.metadata.response_code = ResponseCode::Refused,
            Mood::Answers | Mood::Waits => {
                message.add_answer(Record::from_rdata(owner, 300, data));
            }
        }
        message.to_vec().unwrap()
    }
}

pub(super) async fn read_framed(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; length.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

pub(super) async fn write_framed(stream: &mut (impl AsyncWrite + Unpin), message: &[u8]) {
    stream.write_u16(message.len().try_into().unwrap()).await.unwrap();
    stream.write_all(message).await.unwrap();
}

/// None at the end.
async fn read_post(stream: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(head.starts_with("post /dns-query http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nhost: 192.0.2.53\r\n"), "{head}");
    assert!(head.contains("\r\ncontent-type: application/dns-message\r\n"), "{head}");
    let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    Some(body)
}

pub(super) fn question(id: u16, name: &str, of_type: RecordType) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.id = id;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), of_type));
    message.to_vec().unwrap()
}

/// A device's socket, connected to the forwarder: what comes from elsewhere is not heard.
pub(super) struct Asker(UdpSocket);

impl Asker {
    pub(super) async fn new(gateway: &Gateway) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(gateway.datagrams).await.unwrap();
        Self(socket)
    }

    pub(super) async fn send(&self, id: u16, name: &str, of_type: RecordType) {
        self.0.send(&question(id, name, of_type)).await.unwrap();
    }

    pub(super) async fn hear(&self) -> Message {
        let mut bytes = vec![0; 65_535];
        let length = self.0.recv(&mut bytes).await.unwrap();
        Message::from_vec(&bytes[..length]).unwrap()
    }

    pub(super) async fn ask(&self, name: &str) -> Message {
        self.send(7, name, RecordType::A).await;
        self.hear().await
    }
}
