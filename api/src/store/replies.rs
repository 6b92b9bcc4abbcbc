//! Answers that are kept for callers who ask the same thing twice, with `Idempotency-Key`.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::StoreError;

#[async_trait]
pub trait Replies: Send + Sync {
    /// `key` stands for who asks, what for, and the key that was given; `request` for all of it.
    async fn claim_reply(&self, key: &[u8; 32], request: &[u8; 32]) -> Result<Claim, StoreError>;
    async fn keep_reply(&self, key: &[u8; 32], request: &[u8; 32], reply: &Reply) -> Result<(), StoreError>;
    /// Nothing was done: the same may be asked again.
    async fn release_reply(&self, key: &[u8; 32]) -> Result<(), StoreError>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Nobody asked before. Do it, and tell what came of it.
    Yours,
    Replied(Reply),
    OtherRequest,
    UnderWay,
}

/// An answer as it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}
