//! `docs/settings.md` names every setting, says who reads it, and its defaults are the defaults.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::settings::{
    AgentSettings, ApiSettings, FwdSettings, Mistakes, Source, TunnelSettings, UiSettings,
};

const DOCUMENT: &str = include_str!("../../../../docs/settings.md");

type Read = fn(&dyn Source) -> Result<String, Mistakes>;

const PROGRAMS: [(&str, Read); 5] = [
    ("api", |source| ApiSettings::read(source).map(|read| format!("{read:?}"))),
    ("agent", |source| AgentSettings::read(source).map(|read| format!("{read:?}"))),
    ("fwd", |source| FwdSettings::read(source).map(|read| format!("{read:?}"))),
    ("ui", |source| UiSettings::read(source).map(|read| format!("{read:?}"))),
    ("tunneld", |source| TunnelSettings::read(source).map(|read| format!("{read:?}"))),
];

/// Knows nothing, and remembers what it was asked for.
#[derive(Default)]
struct Asked(RefCell<BTreeSet<String>>);

impl Source for Asked {
    fn get(&self, name: &str) -> Option<String> {
        self.0.borrow_mut().insert(name.to_owned());
        None
    }
}

struct Row {
    /// None where it is told in words.
    default: Option<&'static str>,
    read_by: BTreeSet<&'static str>,
}

fn rows() -> BTreeMap<&'static str, Row> {
    let lines = DOCUMENT.lines().filter_map(|line| line.strip_prefix("| `PGW_"));
    let row = |line: &'static str| {
        let cells: Vec<&str> = line.split(" | ").collect();
        let default = cells[1].strip_prefix('`').and_then(|cell| cell.strip_suffix('`'));
        assert!(
            cells.len() == 4 && cells[3].len() > 10,
            "four cells, and the last one says something: {line}"
        );
        (cells[0].trim_end_matches('`'), Row { default, read_by: cells[2].split(", ").collect() })
    };
    lines.map(row).collect()
}

#[test]
fn every_setting_is_in_the_operators_list_with_the_programs_that_read_it() {
    let mut read: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (program, settings) in PROGRAMS {
        let asked = Asked::default();
        settings(&asked).unwrap();
        for name in asked.0.into_inner() {
            read.entry(name).or_default().insert(program);
        }
    }
    let told: BTreeMap<String, BTreeSet<&str>> =
        rows().into_iter().map(|(name, row)| (format!("PGW_{name}"), row.read_by)).collect();
    assert!(read.len() > 30, "{read:?}");
    assert_eq!(told, read, "docs/settings.md says the left, the programs do the right");
}

#[test]
fn a_default_in_the_operators_list_said_aloud_changes_nothing() {
    let nothing = BTreeMap::new();
    let mut tried = 0;
    for (name, row) in rows() {
        let Some(default) = row.default else { continue };
        let name = format!("PGW_{name}");
        let said = BTreeMap::from([(name.as_str(), default)]);
        for (program, read) in PROGRAMS.iter().filter(|(program, _)| row.read_by.contains(program)) {
            assert_eq!(read(&said).unwrap(), read(&nothing).unwrap(), "{program} with {name}={default}");
            tried += 1;
        }
    }
    assert!(tried > 40, "{tried}");
}
