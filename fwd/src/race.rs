//! Several ways to one thing, in their order: who hangs is given a moment, then the next one
//! runs beside him, and the first to succeed wins.

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

/// The winner's place in the order, and what he won. `patience` is over when a way has had its
/// moment; one that fails makes room for the next at once. Whoever has not won is dropped, and
/// all that he holds is closed.
///
/// `run` is told whether this way is alone: nobody runs beside it, and nobody will.
pub(crate) async fn race<W, T, E, Run, Moment>(
    ways: &[W],
    run: impl Fn(W, bool) -> Run,
    patience: impl Fn(W) -> Moment,
    mut failed: impl FnMut(W, E),
) -> Option<(usize, T)>
where
    W: Copy,
    Run: Future<Output = Result<T, E>>,
    Moment: Future<Output = ()>,
{
    let mut waiting = ways.iter().copied().enumerate();
    let mut running = FuturesUnordered::new();
    loop {
        let next = waiting.next();
        let more = waiting.len() > 0;
        if let Some((place, way)) = next {
            let attempt = run(way, running.is_empty() && !more);
            running.push(async move { (place, way, attempt.await) });
        }
        let moment = async {
            match next {
                Some((_place, way)) if more => patience(way).await,
                Some(_) | None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            ended = running.next() => match ended {
                Some((place, _way, Ok(won))) => return Some((place, won)),
                Some((_place, way, Err(error))) => failed(way, error),
                None => return None,
            },
            () = moment => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::*;

    /// After so many milliseconds it succeeds or fails.
    #[derive(Clone, Copy)]
    enum Way {
        Wins(u64),
        Fails(u64),
        Hangs,
    }
    use Way::{Fails, Hangs, Wins};

    impl Way {
        async fn go(self) -> Result<(), ()> {
            match self {
                Wins(ms) | Fails(ms) => sleep(Duration::from_millis(ms)).await,
                Hangs => std::future::pending().await,
            }
            if matches!(self, Fails(_)) { Err(()) } else { Ok(()) }
        }
    }

    /// Told when a way ends, however it ends.
    struct Open<'a>(usize, &'a RefCell<Vec<usize>>);

    impl Drop for Open<'_> {
        fn drop(&mut self) {
            self.1.borrow_mut().retain(|open| *open != self.0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_to_succeed_wins_and_nobody_is_started_sooner_than_needed() {
        // With the milliseconds at which each was started, and who won when.
        for (name, ways, starts, winner) in [
            ("the first works", vec![Wins(40), Wins(1)], vec![0], Some((0, 40))),
            ("the first works just in time", vec![Wins(299), Wins(1)], vec![0], Some((0, 299))),
            ("a failure starts the next at once", vec![Fails(10), Wins(20)], vec![0, 10], Some((1, 30))),
            ("a silence starts the next after a moment", vec![Hangs, Wins(20)], vec![0, 300], Some((1, 320))),
            ("a late answer still wins", vec![Wins(310), Wins(50)], vec![0, 300], Some((0, 310))),
            ("each silence costs a moment", vec![Hangs, Hangs, Wins(5)], vec![0, 300, 600], Some((2, 605))),
            (
                "a late failure starts the next at once",
                vec![Fails(350), Hangs, Wins(5)],
                vec![0, 300, 350],
                Some((2, 355)),
            ),
            ("the last is waited for", vec![Fails(1), Wins(4_000)], vec![0, 1], Some((1, 4_001))),
            ("nobody works", vec![Fails(400), Fails(400)], vec![0, 300], None),
            ("nobody is there", vec![], vec![], None),
        ] {
            let begun = Instant::now();
            let since = || begun.elapsed().as_millis();
            let (started, open) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
            let run = |way: Way, _alone: bool| {
                let place = started.borrow().len();
                started.borrow_mut().push(since());
                open.borrow_mut().push(place);
                let held = Open(place, &open);
                async move {
                    let _held = held;
                    way.go().await
                }
            };
            let mut failures = 0;
            let patience = |_way| sleep(Duration::from_millis(300));
            let won = race(&ways, run, patience, |_way, ()| failures += 1).await;
            assert_eq!(won.map(|(place, ())| (place, since())), winner, "{name}");
            assert_eq!(*started.borrow(), starts, "{name}");
            assert!(open.borrow().is_empty(), "{name}: a loser is still open");
            assert!(winner.is_some() || failures == ways.len(), "{name}: {failures} failures");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_who_can_have_no_rival_is_told_that_he_is_alone() {
        for (name, ways, alone) in [
            ("the only one", vec![Wins(1)], vec![true]),
            ("one of two", vec![Wins(1), Wins(1)], vec![false]),
            (
                "the last, when all others have failed",
                vec![Fails(1), Fails(1), Wins(1)],
                vec![false, false, true],
            ),
            ("the last, beside one that hangs", vec![Hangs, Wins(1)], vec![false, false]),
        ] {
            let told = RefCell::new(Vec::new());
            let run = |way: Way, alone: bool| {
                told.borrow_mut().push(alone);
                way.go()
            };
            race(&ways, run, |_way| sleep(Duration::from_millis(300)), |_way, ()| ()).await;
            assert_eq!(*told.borrow(), alone, "{name}");
        }
    }
}
