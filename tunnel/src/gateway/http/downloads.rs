//! `GET /download/<file>`: `pgw-connect` for machines that have nothing yet. Who asks has no token, so
//! all of it is bounded, and nothing but the programs can be had.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

const ABOVE: &str = "/download/";
const AT_ONCE: usize = 16;
/// A program is about ten megabytes: who takes longer takes somebody's place for nothing.
const WITHIN: Duration = Duration::from_secs(20 * 60);
const LARGEST: u64 = 256 << 20;
const PIECE: usize = 64 * 1024;

/// What lies in `PGW_TUNNEL_DOWNLOADS`.
pub(in crate::gateway) struct Downloads {
    dir: PathBuf,
    room: Arc<Semaphore>,
}

/// A file on its way: read by a thread of its own, which waits for the visitor.
pub(in crate::gateway) struct Pieces {
    read: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
    _place: OwnedSemaphorePermit,
    _limit: AbortOnDropHandle<()>,
}

pub(in crate::gateway) fn is_asked<B>(request: &Request<B>) -> bool {
    request.uri().path().starts_with(ABOVE)
}

impl Downloads {
    pub(in crate::gateway) fn new(dir: PathBuf) -> Self {
        Self { dir, room: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// `late` is cancelled when the connection has to end. `Err`: there is only a page to be shown.
    pub(super) async fn answer<B>(
        &self,
        request: &Request<B>,
        late: &CancellationToken,
    ) -> Result<Response<Option<Pieces>>, StatusCode> {
        let name = request.uri().path().strip_prefix(ABOVE).filter(|name| is_program(name));
        let name = name.ok_or(StatusCode::NOT_FOUND)?;
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return Err(StatusCode::METHOD_NOT_ALLOWED);
        }
        let place = self.room.clone().try_acquire_owned();
        let place = place.map_err(|_full| StatusCode::SERVICE_UNAVAILABLE)?;
        let path = self.dir.join(name);
        let (file, about) = match tokio::task::spawn_blocking(move || open(&path)).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => return Err(StatusCode::NOT_FOUND),
            Ok(Err(error)) => {
                tracing::warn!(name, %error, "a program cannot be downloaded");
                return Err(StatusCode::SERVICE_UNAVAILABLE);
            }
            Err(_panicked) => return Err(StatusCode::SERVICE_UNAVAILABLE),
        };
        let tag = tag(&about);
        let is_known = request.headers().get_all(header::IF_NONE_MATCH).iter().any(|known| *known == tag);
        let mut answer = Response::new(None);
        if is_known {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
        } else if request.method() == Method::GET {
            let (late, length) = (late.clone(), about.len());
            let limit = tokio::spawn(async move {
                tokio::time::sleep(WITHIN).await;
                late.cancel();
            });
            *answer.body_mut() = Some(Pieces::of(file, length, place, AbortOnDropHandle::new(limit)));
        }
        let fields = answer.headers_mut();
        fields.insert(header::ETAG, tag);
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if !is_known {
            fields.insert(header::CONTENT_LENGTH, about.len().into());
            fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            let nosniff = HeaderName::from_static("x-content-type-options");
            fields.insert(nosniff, HeaderValue::from_static("nosniff"));
        }
        Ok(answer)
    }
}

/// `pgw-connect-<os>-<arch>`, with `.exe` for those who need it: names nothing outside of its folder.
fn is_program(name: &str) -> bool {
    let is_word = |word: &str| {
        (1..=16).contains(&word.len()) && word.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
    };
    let words = name.strip_suffix(".exe").unwrap_or(name).strip_prefix("pgw-connect-");
    words.and_then(|words| words.split_once('-')).is_some_and(|(os, arch)| is_word(os) && is_word(arch))
}

/// Plain files only. Nothing that is opened here may keep it waiting.
fn open(path: &std::path::Path) -> io::Result<(File, Metadata)> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty());
    let file = File::from(match opened {
        Err(Errno::LOOP) => return Err(io::ErrorKind::NotFound.into()),
        opened => opened?,
    });
    let about = file.metadata()?;
    if !about.is_file() || about.len() > LARGEST {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok((file, about))
}

/// Another file has another one, also in the same second.
fn tag(about: &Metadata) -> HeaderValue {
    let text =
        format!("\"{:x}-{:x}.{:x}-{:x}\"", about.len(), about.mtime(), about.mtime_nsec(), about.ino());
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("\"\""))
}

impl Pieces {
    fn of(file: File, length: u64, place: OwnedSemaphorePermit, limit: AbortOnDropHandle<()>) -> Self {
        let (given, read) = mpsc::channel(2);
        tokio::task::spawn_blocking(move || {
            let mut file = file.take(length);
            loop {
                let mut piece = vec![0; PIECE];
                let read = file.read(&mut piece).map(|count| {
                    piece.truncate(count);
                    Bytes::from(piece)
                });
                let last = read.as_ref().map_or(true, Bytes::is_empty);
                // Nobody waits for it any more.
                if given.blocking_send(read).is_err() || last {
                    return;
                }
            }
        });
        Self { read, left: length, _place: place, _limit: limit }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.read.poll_recv(cx).map(|piece| match piece {
            Some(Ok(piece)) if !piece.is_empty() => {
                self.left = self.left.saturating_sub(u64::try_from(piece.len()).unwrap_or(u64::MAX));
                Some(Ok(Frame::data(piece)))
            }
            Some(Err(error)) => Some(Err(error)),
            // It has become shorter.
            Some(Ok(_)) | None => Some(Err(io::ErrorKind::UnexpectedEof.into())),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_name_is_that_of_a_program_or_of_nothing() {
        for name in ["pgw-connect-linux-x86_64", "pgw-connect-windows-x86_64.exe", "pgw-connect-macos-arm64"]
        {
            assert!(is_program(name), "{name}");
        }
        for name in [
            "",
            "pgw-connect",
            "pgw-connect-linux",
            "pgw-connect-linux-",
            "pgw-connect-linux-x86_64.exe.exe",
            "pgw-connect-linux-../secret",
            "../pgw-connect-linux-x86_64",
            "pgw-connect-linux-x86_64/",
            "pgw-connect-linux-x%2f",
            "pgw-connect-linux-x86_64\0",
            "pgw-connect-linux-a-b",
            "tunnel-ca.pem",
        ] {
            assert!(!is_program(name), "{name}");
        }
    }

    async fn ask(downloads: &Downloads, method: Method, name: &str, known: &str) -> Result<(u16, u64), u16> {
        let request = Request::builder().method(method).uri(format!("/download/{name}"));
        let request = request.header(header::IF_NONE_MATCH, known).body(()).unwrap();
        let answer = downloads.answer(&request, &CancellationToken::new()).await;
        let answer = answer.map_err(|status| status.as_u16())?;
        let sent = answer.body().as_ref().map_or(0, |pieces| pieces.left);
        Ok((answer.status().as_u16(), sent))
    }

    #[tokio::test]
    async fn only_plain_files_are_given_and_those_that_are_known_are_not_given_again() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("pgw-connect-linux-x86_64"), "program").unwrap();
        std::fs::write(at("secret"), "secret").unwrap();
        symlink(at("secret"), at("pgw-connect-linux-link")).unwrap();
        std::fs::create_dir(at("pgw-connect-linux-dir")).unwrap();
        let fifo = at("pgw-connect-linux-fifo");
        let at_once = rustix::fs::CWD;
        rustix::fs::mknodat(at_once, &fifo, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        let downloads = Downloads::new(dir.path().to_owned());
        let program = "pgw-connect-linux-x86_64";
        assert_eq!(ask(&downloads, Method::GET, program, "").await, Ok((200, 7)));
        assert_eq!(ask(&downloads, Method::HEAD, program, "").await, Ok((200, 0)));
        assert_eq!(ask(&downloads, Method::POST, program, "").await, Err(405));
        let known = tag(&std::fs::metadata(at(program)).unwrap());
        assert_eq!(ask(&downloads, Method::GET, program, known.to_str().unwrap()).await, Ok((304, 0)));
        for name in
            ["secret", "pgw-connect-linux-link", "pgw-connect-linux-dir", "pgw-connect-linux-fifo", "x"]
        {
            assert_eq!(ask(&downloads, Method::GET, name, "").await, Err(404), "{name}");
        }
    }

    #[tokio::test]
    async fn there_are_places_for_a_few_and_the_next_is_told_to_come_later() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("pgw-connect-linux-x86_64"), "program").unwrap();
        let downloads = Downloads::new(dir.path().to_owned());
        let request = || Request::builder().uri("/download/pgw-connect-linux-x86_64").body(()).unwrap();
        let late = CancellationToken::new();
        let mut held = Vec::new();
        for _ in 0..AT_ONCE {
            held.push(downloads.answer(&request(), &late).await.unwrap());
        }
        assert!(matches!(downloads.answer(&request(), &late).await, Err(StatusCode::SERVICE_UNAVAILABLE)));
        held.pop();
        assert!(downloads.answer(&request(), &late).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_take_it_loses_his_connection_in_the_end_and_who_does_does_not() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("pgw-connect-linux-x86_64"), "program").unwrap();
        let downloads = Downloads::new(dir.path().to_owned());
        let request = Request::builder().uri("/download/pgw-connect-linux-x86_64").body(()).unwrap();
        let (late, in_time) = (CancellationToken::new(), CancellationToken::new());
        drop(downloads.answer(&request, &in_time).await.unwrap());
        let _held = downloads.answer(&request, &late).await.unwrap();
        late.cancelled().await;
        assert!(!in_time.is_cancelled());
    }
}
