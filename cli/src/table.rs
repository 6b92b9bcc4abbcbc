//! Tables, by columns that say where a value stands and how it is shown.

use jiff::Timestamp;
use serde_json::Value;

use crate::words::{ago, bytes, plain, rate};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    title: &'static str,
    /// A JSON pointer.
    at: &'static str,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    /// A word with a colour of its own.
    State,
    Bytes,
    Rate,
    Millis,
    Ago,
    YesNo,
    /// Of one machine, without the `/32`.
    Address,
    Words,
}

/// Of a terminal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) width: Option<usize>,
    pub(crate) height: Option<usize>,
    pub(crate) colours: bool,
}

pub(crate) struct Table<'a> {
    pub(crate) columns: &'a [Column],
    pub(crate) rows: &'a [Value],
}

const GAP: &str = "  ";
const NOTHING: &str = "-";
/// A last column that would get less is not cut: the terminal wraps it.
const LEAST: usize = 10;

macro_rules! kinds {
    ($($name:ident $kind:ident,)+) => {
        $(pub(crate) const fn $name(title: &'static str, at: &'static str) -> Column {
            Column { title, at, kind: Kind::$kind }
        })+
    };
}

kinds! {
    text Text,
    state State,
    size Bytes,
    speed Rate,
    millis Millis,
    time Ago,
    yes_no YesNo,
    address Address,
    list Words,
}

impl Column {
    fn cell(&self, row: &Value, now: Timestamp) -> String {
        let value = row.pointer(self.at).unwrap_or(&Value::Null);
        let shown = match (self.kind, value) {
            (_, Value::Null) => String::new(),
            (Kind::YesNo, value) => if value == true { "yes" } else { "no" }.to_owned(),
            (Kind::Ago, Value::String(then)) => ago(then, now),
            (Kind::Address, Value::String(text)) => plain(text.strip_suffix("/32").unwrap_or(text)),
            (Kind::Bytes, value) => value.as_u64().map(bytes).unwrap_or_default(),
            (Kind::Rate, value) => value.as_u64().map(rate).unwrap_or_default(),
            (Kind::Millis, value) => format!("{value} ms"),
            (_, Value::Array(words)) => words.iter().map(one_line).collect::<Vec<_>>().join(" "),
            (_, value) => one_line(value),
        };
        if shown.is_empty() { NOTHING.to_owned() } else { shown }
    }
}

fn one_line(value: &Value) -> String {
    match value {
        Value::String(text) => plain(text),
        Value::Object(fields) => {
            let pairs = fields.iter().map(|(name, value)| format!("{}={}", plain(name), one_line(value)));
            pairs.collect::<Vec<_>>().join(" ")
        }
        other => plain(&other.to_string()),
    }
}

impl Table<'_> {
    pub(crate) fn render(&self, look: Option<Look>, now: Timestamp) -> String {
        let titles = self.columns.iter().map(|column| column.title.to_owned()).collect();
        let cells = self.rows.iter().map(|row| self.columns.iter().map(|c| c.cell(row, now)).collect());
        let lines: Vec<Vec<String>> = std::iter::once(titles).chain(cells).collect();
        let width = |at: usize| lines.iter().filter_map(|line| line.get(at)).map(|c| length(c)).max();
        let widths: Vec<usize> = (0..self.columns.len()).filter_map(width).collect();
        let mut text = String::new();
        for (number, line) in lines.iter().enumerate() {
            text.push_str(&self.line(line, &widths, look, number == 0));
            text.push('\n');
        }
        text
    }

    fn line(&self, cells: &[String], widths: &[usize], look: Option<Look>, is_title: bool) -> String {
        let mut line = String::new();
        let mut used = 0;
        for (at, ((cell, column), width)) in cells.iter().zip(self.columns).zip(widths).enumerate() {
            let is_last = at + 1 == self.columns.len();
            let room = look.and_then(|look| look.width).filter(|_| is_last);
            let cell = match room.map(|room| room.saturating_sub(used)) {
                Some(room) if room >= LEAST => cut(cell, room),
                Some(_) | None => cell.clone(),
            };
            let pad = if is_last { 0 } else { width.saturating_sub(length(&cell)) };
            match look {
                Some(look) if is_title => line.push_str(&look.bold(&cell)),
                Some(look) if matches!(column.kind, Kind::State) => line.push_str(&look.paint(&cell, &cell)),
                Some(_) | None => line.push_str(&cell),
            }
            if !is_last {
                line.extend(std::iter::repeat_n(' ', pad));
                line.push_str(GAP);
                used += width + GAP.len();
            }
        }
        line
    }
}

/// One thing: a title and a value on each line.
pub(crate) fn sheet(columns: &[Column], thing: &Value, look: Option<Look>, now: Timestamp) -> String {
    let widest = columns.iter().map(|column| length(column.title)).max().unwrap_or_default();
    let mut text = String::new();
    for column in columns {
        let cell = column.cell(thing, now);
        let value = match look {
            Some(look) if matches!(column.kind, Kind::State) => look.paint(&cell, &cell),
            Some(_) | None => cell,
        };
        let title = format!("{:widest$}", column.title.to_lowercase());
        text.push_str(&format!("{title}{GAP}{value}\n"));
    }
    text
}

fn length(text: &str) -> usize {
    text.chars().count()
}

fn cut(text: &str, room: usize) -> String {
    if length(text) <= room {
        return text.to_owned();
    }
    text.chars().take(room.saturating_sub(1)).chain(['…']).collect()
}

impl Look {
    fn bold(self, text: &str) -> String {
        if self.colours { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// As this word is good, bad, or in between.
    pub(crate) fn paint(self, text: &str, word: &str) -> String {
        let colour = match word {
            _ if !self.colours => None,
            "OK" | "APPLIED" | "ACTIVE" | "ok" | "yes" | "online" | "closed" | "leaves_by" | "at_gateway"
            | "created" | "confirmed" => Some(32),
            "PENDING" | "DEGRADED" | "warn" | "unknown" | "unconfirmed" | "not_run" | "waiting"
            | "OFFLINE" => Some(33),
            "DOWN" | "FAILED" | "bad" | "no" | "leaked" | "invalid" | "name_taken" | "rolled_back" => {
                Some(31)
            }
            _ => None,
        };
        colour.map_or_else(|| text.to_owned(), |colour| format!("\u{1b}[{colour}m{text}\u{1b}[0m"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COLUMNS: &[Column] = &[text("NAME", "/name"), state("STATE", "/state"), text("REASON", "/reason")];

    fn rows() -> Vec<Value> {
        vec![
            json!({"name": "büro", "state": "OK", "reason": ""}),
            json!({"name": "tv\u{1b}[2J", "state": "FAILED", "reason": "the connection was refused"}),
        ]
    }

    fn rendered(look: Option<Look>) -> String {
        Table { columns: COLUMNS, rows: &rows() }.render(look, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_a_script_gets_no_colours_and_nothing_cut() {
        let want = "\
NAME    STATE   REASON
büro    OK      -
tv\u{fffd}[2J  FAILED  the connection was refused
";
        assert_eq!(rendered(None), want);
    }

    #[test]
    fn a_terminals_last_column_is_cut_to_its_width_and_states_have_colours() {
        let told = rendered(Some(Look { width: Some(30), height: None, colours: true }));
        assert!(told.contains("\u{1b}[31mFAILED\u{1b}[0m"), "{told}");
        assert!(told.ends_with("  the connectio…\n"), "{told}");
        let plain = rendered(Some(Look { width: Some(30), height: None, colours: false }));
        assert!(!plain.contains('\u{1b}'), "{plain}");
        assert!(plain.lines().all(|line| length(line) <= 30), "{plain}");
    }

    #[test]
    fn each_kind_of_value_is_shown_as_people_say_it() {
        let now: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
        let row = json!({"n": 2048, "ms": 31, "at": "2026-01-01T00:00:00Z", "yes": true, "ip": "10.0.0.1/32",
            "kinds": ["a", "b"], "labels": {"country": "de"}});
        for (column, want) in [
            (size("", "/n"), "2.0 KiB"),
            (speed("", "/n"), "2.0 KiB/s"),
            (millis("", "/ms"), "31 ms"),
            (time("", "/at"), "1h ago"),
            (yes_no("", "/yes"), "yes"),
            (address("", "/ip"), "10.0.0.1"),
            (list("", "/kinds"), "a b"),
            (text("", "/labels"), "country=de"),
            (text("", "/nothing"), "-"),
            (millis("", "/nothing"), "-"),
        ] {
            assert_eq!(column.cell(&row, now), want);
        }
    }
}
