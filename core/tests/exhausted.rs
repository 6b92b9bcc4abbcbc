//! Dialling with no file descriptor left; a process of its own, because all tests of one share them.
#![expect(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::fs::File;
use std::net::SocketAddr;
use std::time::Duration;

use pgw_core::dial::{Destination, DialError, Dialer};
use pgw_core::health::CheckFailure;
use pgw_core::proxy::{Scheme, Upstream};
use pgw_core::resources::{raise_file_limit, shortage};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

async fn dial(host: &str, port: u16, scheme: Scheme) -> DialError {
    let upstream =
        Upstream { name: "de1".into(), scheme, host: host.parse().unwrap(), port, credentials: None };
    let dest = Destination::Addr("192.0.2.1:80".parse().unwrap());
    Dialer::new().dial(&upstream, &dest, Duration::from_secs(5)).await.unwrap_err()
}

/// A port on which nothing listens.
fn nobody() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn what_this_machine_has_run_out_of_is_not_held_against_an_upstream() {
    let port = nobody().port();
    // The name is looked up once before, so that whatever that loads is there.
    let refused = dial("localhost", port, Scheme::Http).await;
    assert_eq!(refused.kind, CheckFailure::Refused, "{refused}");
    assert!(shortage().is_none());

    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), ..before }).unwrap();
    let all: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    for host in ["127.0.0.1", "localhost"] {
        let error = dial(host, port, Scheme::Http).await;
        assert_eq!(error.kind, CheckFailure::Gateway, "{host}: {error}");
        assert!(error.detail.contains("Too many open files"), "{host}: {error}");
    }
    raise_file_limit();
    assert!(shortage().is_none(), "the limit was raised");
    assert_eq!(dial("127.0.0.1", port, Scheme::Http).await.kind, CheckFailure::Refused);
    drop(all);
}
