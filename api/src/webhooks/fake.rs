//! A receiver that remembers what it was told, and answers as it is told to.

use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;
use serde_json::Value;

use super::post::{NotTaken, Post};
use super::sign::Signed;

#[derive(Default)]
pub(crate) struct FakePost {
    /// The next answers, in order; then everything is taken.
    pub(crate) answers: Mutex<VecDeque<NotTaken>>,
    /// Message ids with what they told, in order, taken or not.
    pub(crate) told: Mutex<Vec<(String, Value)>>,
}

#[async_trait]
impl Post for FakePost {
    async fn post(&self, _url: &str, signed: &Signed, body: Vec<u8>) -> Result<u16, NotTaken> {
        let event = serde_json::from_slice(&body).unwrap();
        self.told.lock().unwrap().push((signed.id.clone(), event));
        self.answers.lock().unwrap().pop_front().map_or(Ok(204), Err)
    }
}

pub(crate) fn failed(why: &str) -> NotTaken {
    NotTaken::Failed { why: why.to_owned(), wait: None }
}
