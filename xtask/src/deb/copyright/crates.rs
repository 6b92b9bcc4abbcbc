//! The crates in the programs: from cargo's own tree.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::{env, fs};

use super::{Work, texts_in};
use crate::deb::target::Target;
use crate::run::{Failed, cannot, output};

/// What is compiled into the programs, our own crates left out.
pub(super) fn of(target: &Target, packages: &[&str]) -> Result<Vec<Work>, Failed> {
    let mut words = vec!["tree", "--edges", "normal", "--prefix", "none", "--format", "{p}|{l}|{r}"];
    words.extend(packages);
    words.extend(target.for_tree());
    let tree = output(env!("CARGO"), &words)?;
    let lines: BTreeSet<&str> = tree.lines().collect();
    let registry = registry()?;
    let mut crates = Vec::new();
    for line in lines {
        let mut fields = line.split('|');
        let (Some(package), Some(licence), Some(repository)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        // A path behind the version: ours.
        let mut words = package.split_whitespace();
        let (Some(name), Some(version)) = (words.next(), words.next()) else { continue };
        if words.any(|word| word.starts_with("(/")) {
            continue;
        }
        let version = version.trim_start_matches('v').to_owned();
        let place = format!("{name}-{version}");
        let texts = registry.iter().flat_map(|folder| texts_in(&folder.join(&place))).collect();
        let home = repository.trim_end_matches(" (*)").to_owned();
        let licence = licence.trim_end_matches(" (*)").to_owned();
        if licence.is_empty() {
            return Err(Failed(format!("the crate {name} {version} does not say on which terms it is")));
        }
        crates.push(Work { kind: "crate", name: name.to_owned(), version, licence, home, texts });
    }
    crates.dedup_by(|a, b| (&a.name, &a.version) == (&b.name, &b.version));
    Ok(crates)
}

/// Where cargo has unpacked the sources.
fn registry() -> Result<Vec<PathBuf>, Failed> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let sources = home.unwrap_or_default().join("registry/src");
    let folders = fs::read_dir(&sources).map_err(cannot(&sources.display().to_string()))?;
    Ok(folders.filter_map(|folder| Some(folder.ok()?.path())).collect())
}
