use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

struct Served {
    address: SocketAddr,
    tasks: TaskTracker,
    stop: CancellationToken,
}

async fn served(app: Router, most: usize) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    tasks.spawn(serve(listener, app, most, tasks.clone(), stop.clone()));
    Served { address, tasks, stop }
}

fn here() -> Router {
    Router::new().route("/", get(async || "here"))
}

impl Served {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn stopped(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Asks, and reads as much of the answer as comes at once.
async fn ask(client: &mut TcpStream) -> String {
    client.write_all(ASK).await.unwrap();
    hear(client).await
}

async fn hear(client: &mut TcpStream) -> String {
    let mut answer = [0; 1024];
    let read = client.read(&mut answer).await.unwrap();
    String::from_utf8(answer[..read].to_vec()).unwrap()
}

#[tokio::test]
async fn an_idle_connection_does_not_keep_the_program_from_stopping() {
    let served = served(here(), 10).await;
    let (mut silent, mut half, mut idle) =
        (served.connect().await, served.connect().await, served.connect().await);
    half.write_all(b"GET / HT").await.unwrap();
    assert!(ask(&mut idle).await.starts_with("HTTP/1.1 200"));
    served.stopped().await;
    let mut rest = [0; 8];
    assert_eq!(idle.read(&mut rest).await.unwrap(), 0, "closed in an orderly way");
    assert_eq!(silent.read(&mut rest).await.unwrap(), 0);
    assert!(matches!(half.read(&mut rest).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn a_request_that_is_being_answered_is_answered_though_the_program_stops() {
    let (asked, go) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
    let (told, wait) = (asked.clone(), go.clone());
    let slow = get(async move || {
        told.notify_one();
        wait.notified().await;
        "late"
    });
    let served = served(Router::new().route("/", slow), 10).await;
    let mut client = served.connect().await;
    client.write_all(ASK).await.unwrap();
    asked.notified().await;
    let stopping = tokio::spawn(served.stopped());
    go.notify_one();
    assert!(hear(&mut client).await.ends_with("late"));
    stopping.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_head_that_never_ends_or_never_begins_is_not_waited_for() {
    for begun in ["GET / HTTP/1.1\r\nX-Slow: ", ""] {
        let served = served(here(), 10).await;
        let mut client = served.connect().await;
        client.write_all(begun.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{begun:?}");
    }
}

#[tokio::test]
async fn two_thousand_silent_connections_keep_nobody_from_being_answered() {
    crate::resources::raise_file_limit();
    let served = served(here(), 400).await;
    let mut operator = served.connect().await;
    let mut silent = Vec::new();
    for number in 0..2000 {
        let mut stream = served.connect().await;
        if number % 2 == 1 {
            stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        }
        silent.push(stream);
        if number % 100 == 0 {
            assert!(ask(&mut operator).await.ends_with("here"), "one who goes on asking stays");
        }
    }
    assert!(ask(&mut served.connect().await).await.ends_with("here"), "and one who comes is let in");
    // Those that made room are told: nothing is kept of them.
    let mut rest = [0; 8];
    assert!(matches!(silent[0].read(&mut rest).await, Ok(0) | Err(_)));
    drop(silent);
    served.stopped().await;
}

#[tokio::test]
async fn a_stream_of_events_goes_on_while_others_come_and_go() {
    let (pieces, received) = tokio::sync::mpsc::unbounded_channel::<&str>();
    let received = Arc::new(std::sync::Mutex::new(Some(received)));
    let events = get(async move || {
        let received = received.lock().unwrap().take().unwrap();
        Body::from_stream(futures_util::stream::unfold(received, async |mut received| {
            received.recv().await.map(|piece| (Ok::<_, std::convert::Infallible>(piece), received))
        }))
    });
    let served = served(here().route("/events", events), 4).await;
    let mut stream = served.connect().await;
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(hear(&mut stream).await.starts_with("HTTP/1.1 200"));
    let mut crowd = Vec::new();
    for _ in 0..20 {
        crowd.push(served.connect().await);
    }
    assert!(ask(&mut served.connect().await).await.ends_with("here"));
    pieces.send("still there").unwrap();
    assert!(hear(&mut stream).await.contains("still there"));
    served.stop.cancel();
}

#[tokio::test]
async fn when_everybody_is_being_answered_the_next_one_is_refused_at_once() {
    let (asked, go) = (Arc::new(tokio::sync::Semaphore::new(0)), Arc::new(tokio::sync::Notify::new()));
    let (told, wait) = (asked.clone(), go.clone());
    let slow = get(async move || {
        told.add_permits(1);
        wait.notified().await;
        "late"
    });
    let served = served(Router::new().route("/", slow), 2).await;
    let mut clients = [served.connect().await, served.connect().await];
    for client in &mut clients {
        client.write_all(ASK).await.unwrap();
    }
    asked.acquire_many(2).await.unwrap().forget();
    let mut third = served.connect().await;
    let mut rest = [0; 8];
    assert!(matches!(third.read(&mut rest).await, Ok(0) | Err(_)));
    go.notify_waiters();
    for client in &mut clients {
        assert!(hear(client).await.ends_with("late"));
    }
    served.stopped().await;
}
