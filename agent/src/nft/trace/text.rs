//! Reads the batch that nft is given, as far as `render` writes such. Whatever else stands there
//! fails the test.

use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(super) struct Text {
    tables: BTreeMap<String, Table>,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) chains: BTreeMap<String, Chain>,
    /// By name; key to value, which is empty in a set that is no map.
    pub(super) sets: BTreeMap<String, BTreeMap<String, String>>,
    counters: Vec<String>,
}

#[derive(Debug, Default)]
pub(super) struct Chain {
    pub(super) hook: Option<Hook>,
    /// Each in words; what stood in quotation marks is one word, without them.
    pub(super) rules: Vec<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hook {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) priority: i32,
}

/// The lines of a block, up to the bracket that ends it at this depth.
fn block<'a>(lines: &mut impl Iterator<Item = &'a str>, depth: usize) -> Vec<&'a str> {
    let end = format!("{}}}", "\t".repeat(depth));
    lines.take_while(|line| *line != end).collect()
}

impl Text {
    pub(super) fn read(batch: &str) -> Self {
        let mut text = Self::default();
        let mut lines = batch.lines();
        while let Some(line) = lines.next() {
            match line.split(' ').collect::<Vec<_>>().as_slice() {
                // A replace begins so, whatever was there.
                ["add" | "delete", "table", ..] => {}
                ["table", family, name, "{"] => {
                    let table = Table::read(&block(&mut lines, 0));
                    text.tables.insert(format!("{family} {name}"), table);
                }
                _ => panic!("not understood: {line}"),
            }
        }
        text
    }

    /// The chains of a hook in the order in which a packet meets them, with their tables.
    pub(super) fn at(&self, hook: &str) -> Vec<(&str, &Table, &Chain, &Hook)> {
        let chains = self.tables.iter().flat_map(|(name, table)| {
            table.chains.values().filter_map(move |chain| {
                Some((name.as_str(), table, chain, chain.hook.as_ref().filter(|found| found.name == hook)?))
            })
        });
        let mut chains: Vec<_> = chains.collect();
        chains.sort_by_key(|(.., hook)| hook.priority);
        chains
    }
}

impl Table {
    fn read(body: &[&str]) -> Self {
        let mut table = Self::default();
        let mut lines = body.iter().copied();
        while let Some(line) = lines.next() {
            match line.split_whitespace().collect::<Vec<_>>().as_slice() {
                ["set" | "map", name, "{"] => {
                    let set = elements(&block(&mut lines, 1));
                    table.sets.insert((*name).to_owned(), set);
                }
                ["chain", name, "{"] => {
                    let chain = Chain::read(&block(&mut lines, 1));
                    table.chains.insert((*name).to_owned(), chain);
                }
                ["counter", name, "{", "}"] => table.counters.push((*name).to_owned()),
                _ => panic!("not understood: {line}"),
            }
        }
        table
    }

    pub(super) fn counts(&self, name: &str) -> bool {
        self.counters.iter().any(|counter| counter == name)
    }
}

fn elements(body: &[&str]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut lines = body.iter().map(|line| line.trim());
    while let Some(line) = lines.next() {
        if line == "elements = {" {
            for element in lines.by_ref().take_while(|line| *line != "}") {
                let element = element.trim_end_matches(',');
                let (key, value) = element.split_once(" : ").unwrap_or((element, ""));
                found.insert(key.to_owned(), value.to_owned());
            }
        } else {
            let known = line.starts_with("type ") || line.starts_with("comment ") || line == "flags interval";
            assert!(known, "not understood: {line}");
        }
    }
    found
}

impl Chain {
    fn read(body: &[&str]) -> Self {
        let mut chain = Self::default();
        for line in body {
            match line.split_whitespace().collect::<Vec<_>>().as_slice() {
                ["type", kind, "hook", name, "priority", priority @ .., "policy", "accept;"] => {
                    let priority = match priority.join(" ").as_str() {
                        "raw;" => -300,
                        "dstnat;" => -100,
                        "filter;" => 0,
                        "srcnat - 10;" => 90,
                        other => panic!("when is {other}?"),
                    };
                    let (kind, name) = ((*kind).to_owned(), (*name).to_owned());
                    chain.hook = Some(Hook { kind, name, priority });
                }
                ["type", ..] => panic!("not understood: {line}"),
                _ => chain.rules.push(words(line)),
            }
        }
        chain
    }
}

fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (part, quoted) in line.split('"').zip([false, true].into_iter().cycle()) {
        if quoted {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}
