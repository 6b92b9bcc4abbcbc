//! What a reader of the numbers must know besides: how quiet the machine was, what was left out, and
//! what went wrong with others.

use anyhow::{Context as _, Result};

use super::{Options, machine, progress};

/// What went wrong with those that are only compared with.
#[derive(Debug, Default)]
pub(crate) struct Troubles(Vec<String>);

impl Troubles {
    /// Once for each.
    pub(crate) fn tell(&mut self, who: &str, what: &str) {
        let words = format!("{who}: {what}");
        progress(&words);
        if !self.0.contains(&words) {
            self.0.push(words);
        }
    }

    /// A peer that fails has an empty cell and a note; a run in which we fail is none.
    pub(crate) fn judge(&mut self, who: &str, may_fail: bool, done: Result<()>) -> Result<()> {
        match done {
            Err(error) if may_fail => {
                self.tell(who, &format!("{error:#}"));
                Ok(())
            }
            other => other.with_context(|| who.to_owned()),
        }
    }

    pub(crate) fn notes(&self) -> impl Iterator<Item = String> {
        self.0.iter().cloned()
    }
}

/// Of the run itself; `busy` is what others used when it began.
pub(crate) fn of_run(options: &Options, busy: f64) -> impl Iterator<Item = String> {
    let part = (!options.whole()).then(|| "Not a whole run: do not quote it.".to_owned());
    machine::noise(busy).into_iter().chain(part)
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_peer_that_fails_is_noted_once_and_a_failure_of_ours_ends_the_run() {
        let mut troubles = Troubles::default();
        for _repetition in 0..2 {
            troubles.judge("redsocks", true, Err(anyhow!("gone"))).unwrap();
        }
        troubles.judge("redsocks", true, Ok(())).unwrap();
        assert_eq!(troubles.notes().collect::<Vec<_>>(), ["redsocks: gone"]);
        let ours = troubles.judge("pgw-fwd", false, Err(anyhow!("gone"))).unwrap_err();
        assert_eq!(format!("{ours:#}"), "pgw-fwd: gone");
        assert_eq!(troubles.notes().count(), 1);
    }

    #[test]
    fn what_is_not_whole_says_so() {
        let notes = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            of_run(&Options::read(&words).unwrap(), 0.0).count()
        };
        assert_eq!((notes(&["fwd"]), notes(&["fwd", "--quick"])), (0, 1));
    }
}
