//! Numbers and times as people say them, and text that may be shown on a terminal.

use jiff::Timestamp;

const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

/// Names and reasons come from elsewhere, and a terminal obeys control characters.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

pub(crate) fn bytes(count: u64) -> String {
    let mut whole = count;
    let mut rest = 0;
    let mut unit = UNITS[0];
    for larger in UNITS.into_iter().skip(1) {
        if whole < 1024 {
            break;
        }
        (rest, whole, unit) = (whole % 1024, whole / 1024, larger);
    }
    if unit == UNITS[0] || whole >= 100 {
        format!("{whole} {unit}")
    } else {
        format!("{whole}.{} {unit}", rest * 10 / 1024)
    }
}

pub(crate) fn rate(bytes_per_second: u64) -> String {
    format!("{}/s", bytes(bytes_per_second))
}

pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// How long ago, or until when.
pub(crate) fn ago(then: &str, now: Timestamp) -> String {
    let Ok(then) = then.parse::<Timestamp>() else { return plain(then) };
    let seconds = now.as_second() - then.as_second();
    if seconds >= 0 {
        format!("{} ago", span(seconds.unsigned_abs()))
    } else {
        format!("in {}", span(seconds.unsigned_abs()))
    }
}

pub(crate) fn plural(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {}", many(one)) }
}

fn many(one: &str) -> String {
    match one.strip_suffix("xy") {
        Some(stem) => format!("{stem}xies"),
        None => format!("{one}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_never_rounded_up() {
        for (count, want) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (102_400, "100 KiB"),
            (1_048_575, "1023 KiB"),
            (1_048_576, "1.0 MiB"),
            (u64::MAX, "16777215 TiB"),
        ] {
            assert_eq!(bytes(count), want);
        }
        for (seconds, want) in [(0, "0s"), (59, "59s"), (60, "1m"), (3599, "59m"), (90_000, "1d")] {
            assert_eq!(span(seconds), want);
        }
    }

    #[test]
    fn a_time_is_told_from_now_on_both_sides_and_what_is_none_as_it_stands() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        assert_eq!(ago("2026-01-01T00:00:00Z", now), "1m ago");
        assert_eq!(ago("2026-01-01T00:01:30Z", now), "in 30s");
        assert_eq!(ago("never", now), "never");
    }

    #[test]
    fn nothing_that_a_terminal_obeys_is_left_in_a_text() {
        assert_eq!(plain("a\u{1b}[2Jb\n\u{9b}c"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c");
        assert_eq!(plain("tv im Büro"), "tv im Büro");
    }

    #[test]
    fn one_is_one_and_others_are_many() {
        assert_eq!(plural(1, "proxy"), "1 proxy");
        assert_eq!(plural(2, "proxy"), "2 proxies");
        assert_eq!(plural(0, "client"), "0 clients");
    }
}
