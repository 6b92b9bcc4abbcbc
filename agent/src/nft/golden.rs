//! `tests/golden/<case>.json` holds settings and an active set, `<case>.nft` what is rendered
//! for them. They are reviewed like code; `PGW_GOLDEN=write` writes them anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pgw_core::active::ActiveSet;
use pgw_core::settings::AgentSettings;
use serde::Deserialize;

use super::plan::{Policy, plan};
use super::render;

#[derive(Deserialize)]
struct Case {
    settings: BTreeMap<String, String>,
    active: ActiveSet,
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    cases.sort();
    cases
}

fn rendered(case: &Path) -> String {
    let case: Case = serde_json::from_str(&std::fs::read_to_string(case).unwrap()).unwrap();
    let settings: BTreeMap<&str, &str> =
        case.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let policy = Policy::from(&AgentSettings::read(&settings).unwrap());
    render::replace(&plan(&case.active.desired().unwrap(), &policy).unwrap())
}

/// What is rendered for each case, for the real nft to judge.
pub(super) fn texts() -> impl Iterator<Item = (PathBuf, String)> {
    cases().into_iter().map(|case| (case.clone(), rendered(&case)))
}

#[test]
fn every_case_renders_to_its_golden_text() {
    let cases = cases();
    assert!(!cases.is_empty(), "a folder without cases proves nothing");
    for case in cases {
        let golden = case.with_extension("nft");
        if std::env::var_os("PGW_GOLDEN").is_some_and(|how| how == "write") {
            std::fs::write(&golden, rendered(&case)).unwrap();
        }
        let expected = std::fs::read_to_string(&golden)
            .unwrap_or_else(|error| panic!("{}: {error}; see `cargo xtask golden`", golden.display()));
        assert_eq!(rendered(&case), expected, "{}", golden.display());
    }
}
