//! Lines for programs: one object of JSON each, with the names and in the order of the library's own. A
//! forwarder writes one for every connection, and the library's took a fifth of all that it does for one.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::LogLevels;

/// Room for a usual line. What a longer one took is given back.
const KEPT: usize = 1024;

/// Writes every line in one piece, and before the caller goes on: nothing is held back that would be lost
/// with the process. Spans are not told of.
pub struct JsonLines<W> {
    levels: LogLevels,
    to: W,
}

/// What a thread keeps between two lines.
#[derive(Default)]
struct Desk {
    line: String,
    /// The last second that was written, and how.
    second: u64,
    written: String,
}

struct Fields<'a>(&'a mut String);

/// Text on its way into a string of JSON.
struct Escaped<'a>(&'a mut String);

thread_local! {
    static DESK: RefCell<Desk> = RefCell::default();
}

impl<W> JsonLines<W> {
    pub fn new(levels: LogLevels, to: W) -> Self {
        Self { levels, to }
    }
}

impl<W> Subscriber for JsonLines<W>
where
    W: for<'w> MakeWriter<'w> + 'static,
    Self: Send + Sync,
{
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.levels.0.would_enable(metadata.target(), metadata.level())
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let Self { levels: LogLevels(levels), .. } = self;
        levels.iter().map(|(_target, level)| level).chain(levels.default_level()).max()
    }

    fn event(&self, event: &Event<'_>) {
        // Taken, not borrowed: what is written here may have something to say while it is. A thread that
        // ends may have cleared its desk.
        let mut desk = DESK.try_with(RefCell::take).unwrap_or_default();
        desk.write(event);
        // Nobody else can be told that the log cannot be written.
        let _unwritten = self.to.make_writer_for(event.metadata()).write_all(desk.line.as_bytes());
        desk.line.clear();
        desk.line.shrink_to(KEPT);
        let _cleared = DESK.try_with(|own| own.replace(desk));
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

impl Desk {
    fn write(&mut self, event: &Event<'_>) {
        self.line.push_str("{\"timestamp\":\"");
        self.write_now();
        self.line.push_str("\",\"level\":\"");
        self.line.push_str(event.metadata().level().as_str());
        self.line.push('"');
        event.record(&mut Fields(&mut self.line));
        self.line.push_str(",\"target\":\"");
        Escaped(&mut self.line).push(event.metadata().target());
        self.line.push_str("\"}\n");
    }

    fn write_now(&mut self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.second != now.as_secs() || self.written.is_empty() {
            self.second = now.as_secs();
            let second = i64::try_from(self.second).unwrap_or(i64::MAX);
            let second = jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::MAX);
            self.written = second.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        }
        self.line.push_str(&self.written);
        // Into a string everything can be written.
        let _written = write!(self.line, ".{:06}Z", now.subsec_micros());
    }
}

impl Fields<'_> {
    fn plain(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        self.name(field);
        let _written = self.0.write_fmt(value);
    }

    fn name(&mut self, field: &Field) {
        let name = field.name();
        self.0.push_str(",\"");
        Escaped(self.0).push(name.strip_prefix("r#").unwrap_or(name));
        self.0.push_str("\":");
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field);
        self.0.push('"');
        Escaped(self.0).push(value);
        self.0.push('"');
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.name(field);
        self.0.push('"');
        let _written = write!(Escaped(self.0), "{value:?}");
        self.0.push('"');
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, format_args!("{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, format_args!("{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.plain(field, format_args!("{value:?}"));
        } else {
            self.plain(field, format_args!("null"));
        }
    }
}

impl Escaped<'_> {
    fn push(&mut self, text: &str) {
        if !text.bytes().any(|byte| is_special(byte.into())) {
            return self.0.push_str(text);
        }
        for character in text.chars() {
            match character {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                '\n' => self.0.push_str("\\n"),
                '\r' => self.0.push_str("\\r"),
                '\t' => self.0.push_str("\\t"),
                special if is_special(special) => {
                    let _written = write!(self.0, "\\u{:04x}", u32::from(special));
                }
                plain => self.0.push(plain),
            }
        }
    }
}

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text);
        Ok(())
    }
}

/// What does not stand for itself in a string of JSON.
fn is_special(character: char) -> bool {
    character < ' ' || character == '"' || character == '\\'
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::{Map, Value};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<Vec<u8>>>>);

    impl io::Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Paper {
        fn writes(&self) -> Vec<String> {
            let writes = self.0.lock().unwrap();
            writes.iter().map(|bytes| String::from_utf8(bytes.clone()).unwrap()).collect()
        }
    }

    /// Each line that `say` says: as it was written, in one piece.
    fn lines(levels: &str, say: impl Fn()) -> Vec<String> {
        let paper = Paper::default();
        let to = paper.clone();
        let lines = JsonLines::new(LogLevels::parse(levels).unwrap(), move || to.clone());
        tracing::subscriber::with_default(lines, say);
        paper.writes()
    }

    /// The same by the library, which may write in several pieces.
    fn of_the_library(say: impl Fn()) -> String {
        let paper = Paper::default();
        let to = paper.clone();
        let layer =
            tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(move || to.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), say);
        paper.writes().concat()
    }

    fn say_everything() {
        let all: String = (0..=0x2030).filter_map(char::from_u32).collect();
        let error = io::Error::other("no \"way\"\n");
        tracing::info!(text = all.as_str(), "plain");
        tracing::warn!(shown = %all, debugged = ?all, "of \"{}\"\t\u{1}", all);
        tracing::error!(
            error = &error as &dyn std::error::Error,
            none = Option::<u64>::None,
            some = Some("x")
        );
        tracing::error!(
            yes = true,
            least = i64::MIN,
            most = u64::MAX,
            huge = u128::MAX,
            half = 0.5,
            one = 1.0
        );
        tracing::info!(target: "some::\"where\"", nan = f64::NAN, tiny = 1e-300, r#type = "r", http.status = 200);
    }

    /// With nothing instead of the time, which is looked at by its form.
    fn timeless(line: &str) -> Map<String, Value> {
        let mut fields: Map<String, Value> = serde_json::from_str(line).unwrap();
        let time = fields.remove("timestamp").unwrap();
        let time = time.as_str().unwrap();
        assert_eq!(time.len(), "2026-11-22T02:52:42.389089Z".len(), "{time}");
        let told: jiff::Timestamp = time.parse().unwrap();
        assert!(jiff::Timestamp::now().duration_since(told).as_secs().abs() < 3600, "{time}");
        fields
    }

    #[test]
    fn a_line_says_what_the_librarys_own_would_say() {
        let (ours, theirs) = (lines("trace", say_everything), of_the_library(say_everything));
        assert_eq!(ours.len(), theirs.lines().count(), "a line is written in one piece");
        for (ours, theirs) in ours.iter().zip(theirs.lines()) {
            assert!(ours.ends_with("}\n") && ours.matches('\n').count() == 1, "{ours}");
            assert_eq!(timeless(ours), timeless(theirs));
        }
        let order = |line: &str| {
            let keys: Vec<_> = ["timestamp", "level", "message", "text", "target"]
                .map(|key| line.find(&format!("\"{key}\":")))
                .into();
            assert!(keys.is_sorted() && !keys.contains(&None), "{line}");
        };
        order(&ours[0]);
        order(theirs.lines().next().unwrap());
    }

    #[test]
    fn only_what_is_wanted_is_said() {
        let say = || {
            tracing::debug!("debugged");
            tracing::info!(target: "elsewhere", "told");
            tracing::warn!(target: "elsewhere", "warned");
        };
        for (levels, said) in
            [("info", 2), ("debug", 3), ("off", 0), ("elsewhere=warn,debug", 2), ("off,elsewhere=info", 2)]
        {
            assert_eq!(lines(levels, say).len(), said, "{levels}");
        }
    }
}
