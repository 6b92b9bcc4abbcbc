//! The page.

use super::{Judged, Report, Row, Table, number};

pub(super) fn page(report: &Report) -> String {
    let Report { name, title, machine, notes, goals, tables, .. } = report;
    let mut parts = vec![
        format!("# {title}"),
        format!(
            "Written by `cargo xtask bench {name}`; every single value is in [{name}.json]({name}.json).\nMeasured {}.",
            machine.words()
        ),
        format!("![The numbers below as bars]({name}.svg)"),
    ];
    if !goals.is_empty() {
        parts.push("## Goals".to_owned());
        parts.push(goal_table(goals));
    }
    for table in tables {
        parts.push(format!("## {}", table.heading));
        parts.push(markdown_table(table));
    }
    if !notes.is_empty() {
        parts.push("## How it was measured".to_owned());
        parts.extend(notes.iter().map(|note| format!("* {note}")));
    }
    parts.join("\n\n") + "\n"
}

fn goal_table(goals: &[Judged]) -> String {
    let mut lines = vec!["| what | goal | measured | |".to_owned(), "|---|---|---|---|".to_owned()];
    for goal in goals {
        let value = goal.value.map_or_else(|| "–".to_owned(), number);
        lines.push(format!("| {} | {} | {value} | {} |", goal.what, goal.wanted(), goal.verdict()));
    }
    lines.join("\n")
}

fn markdown_table(table: &Table) -> String {
    let head = format!("| | {} |", table.columns.join(" | "));
    let rule = format!("|---|{}", "---:|".repeat(table.columns.len()));
    let rows = table.rows.iter().map(row);
    [head, rule].into_iter().chain(rows).collect::<Vec<_>>().join("\n")
}

fn row(row: &Row) -> String {
    let bold = if row.ours { "**" } else { "" };
    let cells: Vec<String> = row
        .values
        .iter()
        .map(|value| value.map_or_else(|| "–".to_owned(), |value| format!("{bold}{}{bold}", number(value))))
        .collect();
    format!("| {bold}{}{bold} | {} |", row.name, cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::Bound;

    #[test]
    fn a_table_has_a_cell_for_every_value_and_a_dash_for_what_is_missing() {
        let table = Table {
            heading: "Bulk".to_owned(),
            columns: vec!["one".to_owned(), "eight".to_owned()],
            rows: vec![
                Row { name: "direct".to_owned(), ours: false, values: vec![Some(1.0), None] },
                Row { name: "pgw-fwd".to_owned(), ours: true, values: vec![Some(1.5), Some(120.0)] },
            ],
        };
        let want =
            "| | one | eight |\n|---|---:|---:|\n| direct | 1.00 | – |\n| **pgw-fwd** | **1.50** | **120** |";
        assert_eq!(markdown_table(&table), want);
    }

    #[test]
    fn a_goal_that_was_missed_says_so() {
        let goals = [Judged::new("CPU", Bound::AtMost(0.8), "× HAProxy", Some(0.9))];
        let last = goal_table(&goals).lines().last().map(str::to_owned);
        assert_eq!(last.as_deref(), Some("| CPU | ≤ 0.80 × HAProxy | 0.90 | **missed** |"));
    }
}
