//! The client's questions by connection: the long answers, and clients that like it so.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::wire::{read_message, write_message};
use super::{Carrier, answer};
use crate::conn::{Conn, End};
use crate::serve::Shared;

/// From one question to the end of the next; shorter than the time that a stopping forwarder
/// gives its connections.
const IDLE: Duration = Duration::from_secs(8);
/// For a client that asks and does not read.
const REPLY: Duration = Duration::from_secs(5);

/// Answers one question after the other, until the client ends or may ask no more.
pub(crate) async fn serve(shared: &Shared, conn: &Conn, client: &mut TcpStream) -> End {
    tokio::select! {
        biased;
        told = conn.told() => told,
        ended = converse(shared, conn, client) => match ended {
            Ok(()) => End::Client,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => End::Idle,
            Err(_broken) => End::Client,
        }
    }
}

/// To the client's end, or to a message that deserves no answer.
async fn converse(shared: &Shared, conn: &Conn, client: &mut TcpStream) -> io::Result<()> {
    let mut question = Vec::new();
    while timeout(IDLE, read_message(client, &mut question)).await?? {
        conn.traffic.up(question.len());
        let Some(reply) = answer(shared, &question, Carrier::Stream).await else { break };
        timeout(REPLY, write_message(client, &reply)).await??;
        conn.traffic.down(reply.len());
    }
    Ok(())
}
