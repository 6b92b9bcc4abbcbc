//! Bars, as SVG that is readable on light and on dark paper.

use super::number;

/// One measure of all contestants.
#[derive(Debug, Clone)]
pub(crate) struct Panel {
    pub(crate) title: String,
    /// Name, value, and whether it is ours.
    pub(crate) bars: Vec<(String, f64, bool)>,
}

const WIDTH: f64 = 860.0;
const NAMES: f64 = 230.0;
const VALUES: f64 = 70.0;
const LINE: f64 = 20.0;
const TITLE: f64 = 34.0;
const MARGIN: f64 = 16.0;

const STYLE: &str = "\
text { font: 13px system-ui, sans-serif; fill: #24292f } \
.title { font-weight: 600 } .ours { font-weight: 600 } \
rect { fill: #8c959f } rect.ours { fill: #0969da } \
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } rect { fill: #6e7681 } rect.ours { fill: #4493f8 } }";

pub(super) fn draw(panels: &[Panel]) -> String {
    let mut y = MARGIN;
    let mut body = String::new();
    for panel in panels.iter().filter(|panel| !panel.bars.is_empty()) {
        body.push_str(&text(MARGIN, y + 18.0, "title", &panel.title));
        y += TITLE;
        let longest = panel.bars.iter().map(|(_, value, _)| *value).fold(f64::MIN_POSITIVE, f64::max);
        for (name, value, ours) in &panel.bars {
            let class = if *ours { "ours" } else { "" };
            let room = WIDTH - NAMES - VALUES - 2.0 * MARGIN;
            let length = (value / longest).clamp(0.0, 1.0) * room;
            let left = MARGIN + NAMES;
            body.push_str(&text(MARGIN, y + 13.0, class, name));
            body.push_str(&format!(
                "<rect class=\"{class}\" x=\"{left:.0}\" y=\"{:.0}\" width=\"{length:.1}\" height=\"14\" rx=\"2\"/>\n",
                y + 2.0
            ));
            body.push_str(&text(left + length + 6.0, y + 13.0, class, &number(*value)));
            y += LINE;
        }
        y += MARGIN;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {y:.0}\" width=\"{WIDTH:.0}\" height=\"{y:.0}\" role=\"img\">\n\
         <style>{STYLE}</style>\n{body}</svg>\n"
    )
}

fn text(x: f64, y: f64, class: &str, words: &str) -> String {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    format!("<text class=\"{class}\" x=\"{x:.0}\" y=\"{y:.0}\">{words}</text>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_fills_its_room_and_the_others_keep_their_share() {
        let bars = vec![("one".to_owned(), 2.0, true), ("a < b & c".to_owned(), 1.0, false)];
        let drawn = draw(&[Panel { title: "t".to_owned(), bars }]);
        assert!(drawn.contains("width=\"528.0\"") && drawn.contains("width=\"264.0\""), "{drawn}");
        assert!(drawn.contains("a &lt; b &amp; c"));
        assert_eq!(drawn.matches("class=\"ours\"").count(), 3);
    }

    #[test]
    fn a_panel_without_values_takes_no_room() {
        let empty = Panel { title: "nothing".to_owned(), bars: Vec::new() };
        assert_eq!(draw(&[empty]), draw(&[]));
    }
}
