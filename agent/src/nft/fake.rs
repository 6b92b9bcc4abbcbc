//! A kernel in memory. It understands the batches that `render` writes and refuses all else,
//! whole, as nft does; the contract holds it and the real one to the same behaviour.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use serde_json::{Value, json};

use super::diff::Found;
use super::drill::Tally;
use super::kernel::{Kernel, KernelError};
use super::listing;
use super::render::full_name;
use super::ruleset::{Elements, Set, Table};

#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    tables: BTreeMap<String, ModelTable>,
}

#[derive(Debug, Clone, Default)]
struct ModelTable {
    /// Without elements.
    text: String,
    /// Per set: key to value, empty for a set that is no map.
    sets: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Default)]
pub(crate) struct FakeKernel {
    pub(crate) model: Mutex<Model>,
    /// What the next `apply` fails with, instead of being done.
    pub(crate) failure: Mutex<Option<KernelError>>,
    /// What the next `apply` does not do, while it says that it did.
    pub(crate) ignores: AtomicUsize,
    pub(crate) applied: AtomicUsize,
    pub(crate) tally: Mutex<Option<Tally>>,
    pub(crate) looks: AtomicUsize,
    /// How many of the next `apply`s are done and undone at once by somebody else.
    pub(crate) forgets: AtomicUsize,
}

impl Model {
    /// All or nothing.
    pub(crate) fn apply(&mut self, batch: &str) -> Result<(), KernelError> {
        let mut next = self.clone();
        let mut lines = batch.lines();
        while let Some(line) = lines.next() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["add", "table", family, name] => {
                    next.tables.entry(format!("{family} {name}")).or_default();
                }
                ["delete", "table", family, name] => {
                    let gone = next.tables.remove(&format!("{family} {name}"));
                    gone.ok_or_else(|| refused("No such file or directory", line))?;
                }
                ["table", family, name, "{"] => {
                    let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "}").collect();
                    next.tables.insert(format!("{family} {name}"), ModelTable::read(&body)?);
                }
                [verb @ ("add" | "delete"), "element", family, table, set, "{"] => {
                    let set = next
                        .tables
                        .get_mut(&format!("{family} {table}"))
                        .and_then(|table| table.sets.get_mut(*set))
                        .ok_or_else(|| refused("No such file or directory", line))?;
                    for element in lines.by_ref().take_while(|line| *line != "}") {
                        change(set, verb, element)?;
                    }
                }
                _ => return Err(refused("syntax error", line)),
            }
        }
        *self = next;
        Ok(())
    }

    pub(crate) fn found(&self) -> Option<Found> {
        let mut elements = Elements::default();
        let mut printed = String::new();
        for table in Table::ALL {
            let held = self.tables.get(&full_name(table))?;
            printed.push_str(&held.text);
            listing::read(table, held.json().to_string().as_bytes(), &mut elements).unwrap();
        }
        Some(Found { printed, elements })
    }

    /// Somebody else's hand.
    pub(crate) fn tamper(&mut self, table: Table, change: impl FnOnce(&mut String)) {
        change(&mut self.tables.get_mut(&full_name(table)).unwrap().text);
    }

    pub(crate) fn forget(&mut self, table: Table) {
        self.tables.remove(&full_name(table)).unwrap();
    }
}

impl ModelTable {
    fn read(body: &[&str]) -> Result<Self, KernelError> {
        let mut table = Self::default();
        let mut set = String::new();
        let mut lines = body.iter();
        while let Some(line) = lines.next() {
            match line.split_whitespace().collect::<Vec<_>>().as_slice() {
                ["elements", "=", "{"] => {
                    let held = table.sets.entry(set.clone()).or_default();
                    for element in lines.by_ref().take_while(|line| line.trim() != "}") {
                        change(held, "add", element)?;
                    }
                    continue;
                }
                ["set" | "map", name, "{"] => {
                    set = (*name).to_owned();
                    table.sets.entry(set.clone()).or_default();
                }
                _ => {}
            }
            table.text.push_str(line);
            table.text.push('\n');
        }
        Ok(table)
    }

    /// As `nft -j list table` says it.
    fn json(&self) -> Value {
        let number = |text: &String| text.parse::<u16>().unwrap();
        let element = |name: &str, (key, value): (&String, &String)| match key.split_once(" . ") {
            Some((mac, ip)) if name == Set::Pins.name() => json!({"concat": [mac, ip]}),
            Some((ip, port)) => json!({"concat": [ip, number(&port.to_owned())]}),
            None if name == Set::TunnelRange.name() => match key.split_once('-') {
                Some((from, to)) => json!({"range": [number(&from.to_owned()), number(&to.to_owned())]}),
                None => json!(number(key)),
            },
            None if [Set::TunnelTcp, Set::TunnelUdp].iter().any(|set| set.name() == name) => {
                json!(number(key))
            }
            None if name == Set::ClientPort.name() => json!([key, number(value)]),
            None => json!(key),
        };
        let sets = self.sets.iter().map(|(name, held)| {
            let elements: Vec<Value> = held.iter().map(|entry| element(name, entry)).collect();
            json!({"set": {"name": name, "elem": elements}})
        });
        json!({"nftables": sets.collect::<Vec<_>>()})
    }
}

fn change(set: &mut BTreeMap<String, String>, verb: &str, element: &str) -> Result<(), KernelError> {
    let element = element.trim().trim_end_matches(',');
    let (key, value) = element.split_once(" : ").unwrap_or((element, ""));
    match (verb, set.get(key)) {
        ("delete", None) => return Err(refused("No such file or directory", element)),
        ("delete", Some(_)) => {
            set.remove(key);
        }
        (_, Some(held)) if held != value => return Err(refused("File exists", element)),
        _ => {
            set.insert(key.to_owned(), value.to_owned());
        }
    }
    Ok(())
}

fn refused(why: &str, line: &str) -> KernelError {
    KernelError::Refused(format!("{why} in: {line}"))
}

impl FakeKernel {
    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap()
    }

    pub(crate) fn times_applied(&self) -> usize {
        self.applied.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Kernel for FakeKernel {
    async fn apply(&self, batch: &str) -> Result<(), KernelError> {
        if let Some(failure) = self.failure.lock().unwrap().take() {
            return Err(failure);
        }
        if self.ignores.load(Ordering::SeqCst) > 0 {
            self.ignores.fetch_sub(1, Ordering::SeqCst);
            return Ok(());
        }
        self.model().apply(batch)?;
        self.applied.fetch_add(1, Ordering::SeqCst);
        if self.forgets.load(Ordering::SeqCst) > 0 {
            self.forgets.fetch_sub(1, Ordering::SeqCst);
            self.model().forget(Table::Filter);
        }
        Ok(())
    }

    async fn read(&self) -> Result<Option<Found>, KernelError> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        Ok(self.model().found())
    }

    async fn tally(&self) -> Result<Option<Tally>, KernelError> {
        Ok(self.tally.lock().unwrap().clone())
    }

    async fn text(&self) -> Result<String, KernelError> {
        Ok(self.model().tables.values().map(|table| table.text.as_str()).collect())
    }
}
