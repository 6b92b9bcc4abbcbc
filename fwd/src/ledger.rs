//! What the connections that are over have carried: by mapping, and by name. Bounded, however many
//! mappings come and go and however many names a device calls.

use std::collections::{BTreeMap, HashMap};

use pgw_core::control::{Carried, MAX_NAMES, NameCount, Sum};

use crate::conn::Known;

/// More than a client ever has at a time.
const MOST_MAPPINGS: usize = 64;
/// More than are told, so that who is told of is not the next to be forgotten.
const MOST_NAMES: usize = 2 * MAX_NAMES;

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Whose connection ended last stands last.
    carried: Vec<Carried>,
    names: Vec<Kept>,
}

#[derive(Debug)]
struct Kept {
    name: Box<str>,
    sum: Sum,
    /// The weight of whoever had this place before: who is new must not be the next to go, or
    /// among many names none would ever stay long enough to be seen.
    inherited: u64,
}

impl Ledger {
    /// It is over. `open` are those that are not.
    pub(crate) fn enter(&mut self, ended: &Known, open: &BTreeMap<u64, std::sync::Arc<Known>>) {
        let (mapping_id, sum) = (ended.mapping(), ended.sum());
        let at = self.carried.iter().position(|carried| carried.mapping_id == mapping_id);
        let mut carried =
            at.map_or(Carried { mapping_id, sum: Sum::default() }, |at| self.carried.remove(at));
        carried.sum.add(sum);
        if self.carried.len() >= MOST_MAPPINGS {
            self.forget_one(open);
        }
        self.carried.push(carried);
        self.note_name(&ended.name_told(), sum);
    }

    /// By mapping, with what the open ones have carried up to now.
    pub(crate) fn carried<'a>(&self, open: impl Iterator<Item = &'a Known>) -> Vec<Carried> {
        let mut all = self.carried.clone();
        for known in open {
            // Without a tunnel it may get one, and would then have been another's before.
            let Some(mapping) = known.mapping() else { continue };
            match all.iter_mut().find(|carried| carried.mapping_id == Some(mapping)) {
                Some(carried) => carried.sum.add(known.sum()),
                None => all.push(Carried { mapping_id: Some(mapping), sum: known.sum() }),
            }
        }
        all
    }

    /// Those with the most weight, with what the open ones have carried up to now.
    pub(crate) fn names<'a>(&self, open: impl Iterator<Item = &'a Known>) -> Vec<NameCount> {
        let mut all: HashMap<String, Sum> =
            self.names.iter().map(|kept| (kept.name.to_string(), kept.sum)).collect();
        for known in open.filter(|known| known.mapping().is_some()) {
            all.entry(known.name_told()).or_default().add(known.sum());
        }
        let mut all: Vec<NameCount> = all.into_iter().map(|(name, sum)| NameCount { name, sum }).collect();
        all.sort_unstable_by(|one, other| {
            (other.sum.weight(), &one.name).cmp(&(one.sum.weight(), &other.name))
        });
        all.truncate(MAX_NAMES);
        all
    }

    /// The one that has been at rest for longest; whoever has an open connection would otherwise
    /// be counted from the middle.
    fn forget_one(&mut self, open: &BTreeMap<u64, std::sync::Arc<Known>>) {
        let in_use = |carried: &Carried| open.values().any(|known| known.mapping() == carried.mapping_id);
        if let Some(at) = self.carried.iter().position(|carried| !in_use(carried)) {
            self.carried.remove(at);
        }
    }

    fn note_name(&mut self, name: &str, sum: Sum) {
        if let Some(kept) = self.names.iter_mut().find(|kept| *kept.name == *name) {
            kept.sum.add(sum);
            return;
        }
        let mut inherited = 0;
        if self.names.len() >= MOST_NAMES {
            let least = self.names.iter().enumerate().min_by_key(|(_, kept)| kept.weight());
            if let Some((at, weight)) = least.map(|(at, kept)| (at, kept.weight())) {
                self.names.swap_remove(at);
                inherited = weight;
            }
        }
        self.names.push(Kept { name: name.into(), sum, inherited });
    }
}

impl Kept {
    fn weight(&self) -> u64 {
        self.sum.weight().saturating_add(self.inherited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(bytes_down: u64) -> Sum {
        Sum { connections: 1, bytes_up: 0, bytes_down }
    }

    #[test]
    fn among_more_names_than_there_is_room_for_the_ones_called_most_are_kept_and_counted_exactly() {
        let mut ledger = Ledger::default();
        for round in 0..200 {
            for often in 0..10 {
                ledger.note_name(&format!("*.often{often}.example"), one(1_000_000));
            }
            for seldom in 0..20 {
                ledger.note_name(&format!("*.{round}-{seldom}.example"), one(10));
            }
        }
        assert_eq!(ledger.names.len(), MOST_NAMES);
        let told = ledger.names(std::iter::empty());
        let (often, rest) = told.split_at(10);
        for name in often {
            assert!(name.name.starts_with("*.often"), "{name:?}");
            assert_eq!(name.sum, Sum { connections: 200, bytes_up: 0, bytes_down: 200_000_000 });
        }
        assert!(rest.iter().all(|name| name.sum == one(10)), "nobody is told to have had what he inherited");
    }

    #[test]
    fn a_name_that_comes_up_late_finds_its_place_among_many() {
        let mut ledger = Ledger::default();
        for n in 0..1000 {
            ledger.note_name(&format!("*.{n}.example"), one(10));
        }
        for _time in 0..100 {
            ledger.note_name("*.late.example", one(10));
            ledger.note_name("*.other.example", one(10));
        }
        let told = ledger.names(std::iter::empty());
        assert_eq!(told[0].sum.connections, 100);
        assert_eq!(told[1].sum.connections, 100);
    }
}
