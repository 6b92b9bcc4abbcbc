//! What a bench hands over, whatever it measured: a page with tables and goals, a picture, and
//! every single value as JSON.

mod goals;
mod markdown;
mod picture;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::machine::Machine;
pub(crate) use goals::{Bound, Judged};
pub(crate) use picture::Panel;

#[derive(Serialize)]
pub(crate) struct Report {
    /// The files' name.
    #[serde(skip)]
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) machine: Machine,
    /// How it was measured, and what that means for the numbers: a paragraph each.
    #[serde(skip)]
    pub(crate) notes: Vec<String>,
    pub(crate) goals: Vec<Judged>,
    pub(crate) tables: Vec<Table>,
    #[serde(skip)]
    pub(crate) panels: Vec<Panel>,
    /// Every measurement, as it was taken.
    pub(crate) samples: serde_json::Value,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Table {
    pub(crate) heading: String,
    pub(crate) columns: Vec<String>,
    /// A row that is ours is set in bold.
    pub(crate) rows: Vec<Row>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) ours: bool,
    pub(crate) values: Vec<Option<f64>>,
}

impl Report {
    /// Into a folder that is made if need be; gives the page's path.
    pub(crate) fn write(&self, folder: &Path) -> Result<PathBuf> {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let page = folder.join(format!("{}.md", self.name));
        let json = serde_json::to_string_pretty(self)? + "\n";
        fs::write(folder.join(format!("{}.json", self.name)), json)?;
        fs::write(folder.join(format!("{}.svg", self.name)), picture::draw(&self.panels))?;
        fs::write(&page, markdown::page(self))?;
        Ok(page)
    }
}

impl Table {
    /// Without the rows that hold nothing; none if no row is left.
    pub(crate) fn measured(mut self) -> Option<Self> {
        self.rows.retain(|row| row.values.iter().any(Option::is_some));
        (!self.rows.is_empty()).then_some(self)
    }
}

/// Three digits that mean something, and no more.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if size == 0.0 => "0".to_owned(),
        _ if size < 0.001 => "< 0.001".to_owned(),
        _ if size < 0.1 => format!("{value:.3}"),
        _ if size < 10.0 => format!("{value:.2}"),
        _ if size < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_shows_what_it_means() {
        for (value, want) in [
            (0.0, "0"),
            (0.000_01, "< 0.001"),
            (0.0216, "0.022"),
            (0.2215, "0.22"),
            (1.8412, "1.84"),
            (97.26, "97.3"),
            (12_345.6, "12346"),
        ] {
            assert_eq!(number(value), want);
        }
    }
}
