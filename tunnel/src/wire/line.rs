//! JSON documents behind their length: four bytes, most significant first.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Of one document: a hello with all its ports fits.
pub const LONGEST: usize = 256 * 1024;

/// Not to be cancelled between: what was read of a document would be lost.
pub async fn read<T: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin)) -> io::Result<T> {
    let length = usize::try_from(from.read_u32().await?).unwrap_or(usize::MAX);
    if length > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "longer than any words are"));
    }
    let mut text = Vec::new();
    // What was announced is not believed: room is made for what comes.
    let got = from.take(u64::try_from(length).unwrap_or(0)).read_to_end(&mut text).await?;
    if got < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_slice(&text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

pub async fn write(to: &mut (impl AsyncWrite + Unpin), word: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(word)?;
    let length = u32::try_from(text.len()).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(text.len() + 4);
    bytes.extend(length.to_be_bytes());
    bytes.extend(text);
    to.write_all(&bytes).await?;
    to.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_document_arrives_and_what_is_none_is_refused() {
        let mut bytes = Vec::new();
        write(&mut bytes, &"hello").await.unwrap();
        assert_eq!(read::<String>(&mut bytes.as_slice()).await.unwrap(), "hello");
        let kind = async |mut bytes: &[u8]| read::<String>(&mut bytes).await.unwrap_err().kind();
        assert_eq!(kind(&bytes[..5]).await, io::ErrorKind::UnexpectedEof);
        assert_eq!(kind(b"\xff\xff\xff\xff").await, io::ErrorKind::InvalidData);
        assert_eq!(kind(b"\0\0\0\x01{").await, io::ErrorKind::InvalidData);
    }
}
