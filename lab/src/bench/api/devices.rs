//! As many devices as are wanted, each with a proxy of its own, in one document.

use serde_json::{Value, json};

use crate::upstream::{Kind, USER};

/// Room for a thousand and some.
pub(super) const LAST_PORT: u16 = 16_500;

pub(super) struct Devices {
    count: usize,
}

impl Devices {
    pub(super) fn new(count: usize) -> Self {
        Self { count }
    }

    /// Every client has this note.
    pub(super) fn document(&self, note: &str) -> Value {
        let numbers = 0..self.count;
        let proxies: Vec<Value> = numbers.clone().map(proxy).collect();
        let clients: Vec<Value> = numbers.map(|number| client(number, note)).collect();
        json!({"version": 1, "proxies": proxies, "clients": clients})
    }
}

/// The same upstream under a thousand names.
fn proxy(number: usize) -> Value {
    let kind = Kind::Microsocks;
    json!({"name": name(number), "scheme": kind.scheme(), "host": kind.name(), "port": kind.port(),
        "username": USER, "password": kind.password()})
}

fn client(number: usize, note: &str) -> Value {
    let ip = format!("10.9.{}.{}", number / 250, 1 + number % 250);
    json!({"name": format!("device {number:04}"), "ip_cidr": ip, "note": note,
        "mappings": [{"proxy": name(number)}]})
}

fn name(number: usize) -> String {
    format!("exit {number:04}")
}
