//! From the machine's loopback into the lab. The outer process listens on the machine and hands
//! every connection to a unix socket, which is a file and knows no network; the inner process
//! answers there and connects within the gateway's namespace.

use std::path::Path;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// One socket in `folder` for each port of the gateway.
fn socket(folder: &Path, port: u16) -> std::path::PathBuf {
    folder.join(format!("{port}.sock"))
}

/// Inside: whoever comes by the socket is connected to the gateway's own port.
pub fn serve_inside(folder: &Path, port: u16) -> Result<()> {
    let listener = UnixListener::bind(socket(folder, port)).context("the way out to the machine")?;
    tokio::spawn(async move {
        while let Ok((visitor, _)) = listener.accept().await {
            tokio::spawn(async move { join(visitor, TcpStream::connect(("127.0.0.1", port)).await).await });
        }
    });
    Ok(())
}

/// Outside: listens on the machine's loopback, on the same port if it is free. Gives the port.
pub async fn serve_outside(folder: &Path, port: u16) -> Result<u16> {
    let listener = match TcpListener::bind(("127.0.0.1", port)).await {
        Ok(listener) => listener,
        Err(_taken) => {
            TcpListener::bind(("127.0.0.1", 0)).await.context("no port is free on this machine")?
        }
    };
    let own = listener.local_addr()?.port();
    let socket = socket(folder, port);
    tokio::spawn(async move {
        while let Ok((visitor, _)) = listener.accept().await {
            let socket = socket.clone();
            tokio::spawn(async move { join(visitor, UnixStream::connect(socket).await).await });
        }
    });
    Ok(own)
}

async fn join<A, B>(mut visitor: A, inner: std::io::Result<B>)
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    // Nobody there: the visitor sees a connection that ends, as he would without a relay.
    if let Ok(mut inner) = inner {
        let _ended = copy_bidirectional(&mut visitor, &mut inner).await;
    }
}
