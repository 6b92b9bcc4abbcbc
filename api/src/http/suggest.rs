//! What somebody may have meant who wrote a name that is not known.

/// More letters than this that are wrong make it another word.
const MOST_WRONG: usize = 2;

pub(super) fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written: Vec<char> = written.to_lowercase().chars().take(64).collect();
    let near = |name: &&str| {
        let name: Vec<char> = name.chars().collect();
        distance(&written, &name)
    };
    let nearest = known.into_iter().min_by_key(near)?;
    let allowed = MOST_WRONG.min(nearest.len() / 2);
    (near(&nearest) <= allowed).then_some(nearest)
}

/// How many letters have to be put in, left out or replaced.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (above, letter) in a.iter().enumerate() {
        let mut left = above + 1;
        let mut next = vec![left];
        for (other, pair) in b.iter().zip(row.windows(2)) {
            let (diagonal, up) = match pair {
                [diagonal, up] => (*diagonal, *up),
                _ => (0, 0),
            };
            left = (diagonal + usize::from(letter != other)).min(up + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_understood_and_another_word_is_not() {
        let known = ["name", "ip_cidr", "mac", "note", "mappings", "proxy"];
        for (written, want) in [
            ("nmae", Some("name")),
            ("Note", Some("note")),
            ("mapping", Some("mappings")),
            ("ip-cidr", Some("ip_cidr")),
            ("proxi", Some("proxy")),
            ("mak", Some("mac")),
            ("address", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(nearest(written, known), want, "{written:?}");
        }
        assert_eq!(nearest("name", []), None);
    }
}
