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
    /// What is never answered at all.
    pub(crate) hangs: Mutex<Option<String>>,
    /// What was told, in order, taken or not.
    pub(crate) told: Mutex<Vec<Told>>,
}

pub(crate) struct Told {
    pub(crate) url: String,
    pub(crate) message: String,
    pub(crate) event: Value,
}

#[async_trait]
impl Post for FakePost {
    async fn post(&self, url: &str, signed: &Signed, body: Vec<u8>) -> Result<u16, NotTaken> {
        let event = serde_json::from_slice(&body).unwrap();
        let told = Told { url: url.to_owned(), message: signed.id.clone(), event };
        self.told.lock().unwrap().push(told);
        if self.hangs.lock().unwrap().as_deref() == Some(url) {
            std::future::pending::<()>().await;
        }
        self.answers.lock().unwrap().pop_front().map_or(Ok(204), Err)
    }
}

impl FakePost {
    /// The ids of the events that this address was told.
    pub(crate) fn ids(&self, url: &str) -> Vec<i64> {
        let told = self.told.lock().unwrap();
        told.iter().filter(|told| told.url == url).map(|told| told.event["id"].as_i64().unwrap()).collect()
    }
}

pub(crate) fn failed(why: &str) -> NotTaken {
    NotTaken::Failed { why: why.to_owned(), wait: None }
}
