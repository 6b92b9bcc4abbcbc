//! The names that are called most, by client and hour. Bounded by client; only the hour that runs
//! is kept here.

use std::collections::{BTreeMap, HashMap, HashSet};

use pgw_core::control::{NameCount, Sum};
use pgw_core::ids::ClientId;

use crate::store::traffic::{NAMES_STEP, NamesRow};

/// Of one client while the hour runs, and of one hour in an answer or a row.
const MOST_KEPT: usize = 64;
pub(super) const MOST_TOLD: usize = 20;
/// Of hours that are over and cannot be written down.
const MOST_ROWS: usize = 5_000;

#[derive(Debug, Default)]
pub(super) struct Hour {
    begin: i64,
    clients: HashMap<ClientId, HashMap<String, Sum>>,
    dirty: HashSet<ClientId>,
    /// Of hours that are over.
    over: Vec<NamesRow>,
}

impl Hour {
    /// Goes on where the program before this one ended.
    pub(super) fn resume(begin: i64, rows: Vec<NamesRow>) -> Self {
        let clients = rows.into_iter().filter_map(|row| {
            let names = row.names.into_iter().map(|name| (name.name, name.sum)).collect();
            Some((row.client?, names))
        });
        Self { begin, clients: clients.collect(), ..Self::default() }
    }

    pub(super) fn add(&mut self, second: i64, client: ClientId, news: Vec<NameCount>) {
        self.turn(second);
        if news.is_empty() {
            return;
        }
        self.dirty.insert(client);
        let names = self.clients.entry(client).or_default();
        for NameCount { name, sum } in news {
            names.entry(name).or_default().add(sum);
        }
        if names.len() > MOST_KEPT {
            *names = top(names, MOST_KEPT).into_iter().map(|name| (name.name, name.sum)).collect();
        }
    }

    /// What is over, and with `all` also what changed in the hour that runs.
    pub(super) fn take(&mut self, second: i64, all: bool) -> Vec<NamesRow> {
        self.turn(second);
        let mut rows = std::mem::take(&mut self.over);
        if all {
            rows.extend(self.rows());
        }
        rows
    }

    /// They could not be written down.
    pub(super) fn put_back(&mut self, rows: Vec<NamesRow>) {
        let (running, over): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.at == self.begin);
        self.dirty.extend(running.into_iter().filter_map(|row| row.client));
        // Where there is a newer one of the same hour meanwhile, that one counts.
        let newer: HashSet<_> = self.over.iter().map(|row| (row.at, row.client)).collect();
        self.over.extend(over.into_iter().filter(|row| !newer.contains(&(row.at, row.client))));
        self.over.truncate(MOST_ROWS);
    }

    /// Of the hour that runs: of one client, or of all of them together.
    pub(super) fn of(&self, client: Option<ClientId>) -> Vec<NameCount> {
        match client {
            Some(client) => self.clients.get(&client).map(|names| top(names, MOST_KEPT)).unwrap_or_default(),
            None => top(&self.together(), MOST_KEPT),
        }
    }

    pub(super) fn begin(&self) -> i64 {
        self.begin
    }

    fn turn(&mut self, second: i64) {
        let now = NAMES_STEP.begin(second);
        // A clock that was put back does not begin an hour twice.
        if now <= self.begin {
            return;
        }
        let rows = self.rows();
        self.over.extend(rows);
        self.over.truncate(MOST_ROWS);
        self.clients.clear();
        self.begin = now;
    }

    fn rows(&mut self) -> Vec<NamesRow> {
        let at = self.begin;
        let changed = std::mem::take(&mut self.dirty);
        if changed.is_empty() {
            return Vec::new();
        }
        let everybody = NamesRow { at, client: None, names: top(&self.together(), MOST_TOLD) };
        let row = |client: ClientId| {
            let names = top(self.clients.get(&client)?, MOST_TOLD);
            Some(NamesRow { at, client: Some(client), names })
        };
        changed.into_iter().filter_map(row).chain([everybody]).collect()
    }

    fn together(&self) -> HashMap<String, Sum> {
        let mut all: HashMap<String, Sum> = HashMap::new();
        for (name, sum) in self.clients.values().flatten() {
            all.entry(name.clone()).or_default().add(*sum);
        }
        all
    }
}

/// Those of several hours, together.
pub(super) fn gathered(hours: impl IntoIterator<Item = Vec<NameCount>>) -> Vec<NameCount> {
    let mut all: HashMap<String, Sum> = HashMap::new();
    for NameCount { name, sum } in hours.into_iter().flatten() {
        all.entry(name).or_default().add(sum);
    }
    top(&all, MOST_TOLD)
}

/// Those with the most weight, in an order that does not change by itself.
fn top(names: &HashMap<String, Sum>, most: usize) -> Vec<NameCount> {
    let by_weight: BTreeMap<_, _> =
        names.iter().map(|(name, sum)| ((std::cmp::Reverse(sum.weight()), name.as_str()), *sum)).collect();
    let named = |((_, name), sum): ((_, &str), Sum)| NameCount { name: name.to_owned(), sum };
    by_weight.into_iter().take(most).map(named).collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const HOUR: i64 = NAMES_STEP.width;

    fn client(n: u128) -> ClientId {
        ClientId(Uuid::from_u128(n))
    }

    fn name(name: &str, connections: u64) -> NameCount {
        NameCount { name: name.into(), sum: Sum { connections, bytes_up: 0, bytes_down: 0 } }
    }

    #[test]
    fn an_hour_that_is_over_is_written_down_once_of_each_client_and_of_all_together() {
        let mut hour = Hour::resume(HOUR, vec![]);
        hour.add(HOUR, client(1), vec![name("*.a.example", 1)]);
        hour.add(HOUR + 5, client(2), vec![name("*.a.example", 2), name("*.b.example", 1)]);
        assert_eq!(hour.take(HOUR + 6, false), [], "it is not over");
        assert_eq!(hour.of(None), [name("*.a.example", 3), name("*.b.example", 1)]);
        let mut rows = hour.take(2 * HOUR, false);
        rows.sort_by_key(|row| row.client.map(|client| client.0));
        let [everybody, first, second] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!((everybody.at, everybody.client, first.client), (HOUR, None, Some(client(1))));
        assert_eq!(everybody.names, [name("*.a.example", 3), name("*.b.example", 1)]);
        assert_eq!(second.names, [name("*.a.example", 2), name("*.b.example", 1)]);
        assert_eq!((hour.of(None), hour.take(2 * HOUR, true)), (vec![], vec![]));
    }

    #[test]
    fn an_hour_that_was_begun_by_another_program_goes_on() {
        let row = NamesRow { at: HOUR, client: Some(client(1)), names: vec![name("*.a.example", 4)] };
        let mut hour = Hour::resume(HOUR, vec![row]);
        assert_eq!(hour.take(HOUR, true), [], "nothing is new");
        hour.add(HOUR, client(1), vec![name("*.a.example", 1)]);
        let rows = hour.take(HOUR, true);
        assert!(
            rows.iter().any(|row| row.client == Some(client(1)) && row.names == [name("*.a.example", 5)])
        );
    }

    #[test]
    fn what_could_not_be_written_down_is_written_the_next_time() {
        let mut hour = Hour::resume(HOUR, vec![]);
        hour.add(HOUR, client(1), vec![name("*.a.example", 1)]);
        let running = hour.take(HOUR, true);
        hour.put_back(running.clone());
        assert_eq!(hour.take(HOUR, true), running);
        hour.put_back(running.clone());
        let over = hour.take(2 * HOUR, false);
        hour.put_back(over.clone());
        assert_eq!((hour.take(2 * HOUR, false), over), (running.clone(), running));
    }

    #[test]
    fn many_names_of_one_client_take_no_room_from_it_or_others() {
        let mut hour = Hour::resume(HOUR, vec![]);
        hour.add(HOUR, client(1), vec![name("*.often.example", 1000)]);
        for n in 0..1000 {
            hour.add(HOUR, client(1), vec![name(&format!("*.{n}.example"), 1)]);
        }
        let told = hour.of(Some(client(1)));
        assert_eq!((told.len(), &told[0]), (MOST_KEPT, &name("*.often.example", 1000)));
        let [row, _everybody] = &hour.take(HOUR, true)[..] else { panic!() };
        assert_eq!(row.names.len(), MOST_TOLD);
    }
}
