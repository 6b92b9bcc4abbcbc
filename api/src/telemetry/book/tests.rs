use pgw_core::control::{Carried, NameCount};
use pgw_core::health::HealthStatus;

use super::super::source::tests::told;
use super::*;

const NOW: i64 = 1_800_000_000;

fn proxy(n: u128) -> ProxyId {
    ProxyId(Uuid::from_u128(n))
}

fn book() -> Book {
    let mut book = Book::resume(&[], 0, vec![]);
    book.set_owners((1..=3).map(|n| (MappingId(Uuid::from_u128(n)), proxy(n))));
    book
}

fn hear(book: &mut Book, told: FwdTraffic) {
    book.hear(told, NOW, Instant::now());
}

fn bytes(book: &Book) -> u64 {
    book.traffic(15, None, None).map(|(_, sum)| sum.bytes_down).sum()
}

#[tokio::test(start_paused = true)]
async fn a_forwarder_that_was_started_anew_takes_nothing_away_and_adds_only_its_own() {
    let mut book = book();
    hear(&mut book, told(1, &[(1, 1000)]));
    hear(&mut book, told(2, &[(1, 10)]));
    hear(&mut book, told(2, &[(1, 15)]));
    assert_eq!(bytes(&book), 1015);
    assert_eq!(book.totals.proxies[&proxy(1)].bytes_down, 1015);
    assert_eq!(book.traffic(3600, None, Some(proxy(1))).map(|(_, sum)| sum.bytes_down).sum::<u64>(), 1015);
}

#[tokio::test(start_paused = true)]
async fn who_still_drains_is_counted_beside_the_next_one_to_its_last_words() {
    let mut book = book();
    let old = |bytes, last| FwdTraffic { draining: true, last, ..told(1, &[(1, bytes)]) };
    hear(&mut book, told(1, &[(1, 100)]));
    hear(&mut book, old(110, false));
    hear(&mut book, told(2, &[(1, 1)]));
    hear(&mut book, old(120, false));
    hear(&mut book, told(2, &[(1, 2)]));
    hear(&mut book, old(121, true));
    assert_eq!(bytes(&book), 123);
    let written = book.take(NOW, true);
    assert_eq!(written.gone, [(15001, 1)]);
    assert_eq!(written.counted.iter().map(|counted| counted.run).collect::<Vec<_>>(), [2]);
}

#[tokio::test(start_paused = true)]
async fn one_that_died_without_a_word_is_forgotten_when_its_port_has_another() {
    let mut book = book();
    for run in 1..100 {
        hear(&mut book, told(run, &[(1, 10)]));
        assert!(book.sources.len() <= MOST_RUNS);
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    tokio::time::advance(Duration::from_secs(120)).await;
    hear(&mut book, told(100, &[(1, 10)]));
    assert_eq!((book.sources.len(), bytes(&book)), (1, 1000));
}

#[tokio::test(start_paused = true)]
async fn a_program_that_comes_back_counts_on_and_one_that_was_killed_counts_again_what_it_had_not_written() {
    let mut first = book();
    hear(&mut first, told(1, &[(1, 100)]));
    let written = first.take(NOW, true);
    hear(&mut first, told(1, &[(1, 150)]));
    // It is killed here; the next one begins with what was written down.
    let mut second = Book::resume(&written.counted, 0, vec![]);
    second.set_owners([(MappingId(Uuid::from_u128(1)), proxy(1))]);
    hear(&mut second, told(1, &[(1, 180)]));
    let of_first: u64 =
        written.traffic.iter().filter(|row| row.step_s == 15).map(|row| row.sum.bytes_down).sum();
    assert_eq!(of_first + bytes(&second), 180);
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_written_down_is_there_and_is_written_the_next_time() {
    let mut book = book();
    hear(&mut book, told(1, &[(1, 100)]));
    book.checked(NOW, proxy(1), &Health { status: HealthStatus::Down, ..Health::default() });
    let lost = book.take(NOW, true);
    assert_eq!((bytes(&book), lost.traffic.len(), lost.health.len()), (0, 3, 3));
    hear(&mut book, told(1, &[(1, 120)]));
    book.put_back(lost);
    assert_eq!(bytes(&book), 120);
    let again = book.take(NOW, true);
    assert_eq!((again.traffic.len(), again.health.len(), again.counted.len()), (3, 3, 1));
    assert_eq!(again.counted[0].carried, told(1, &[(1, 120)]).carried);
    assert!(book.take(NOW, true).is_nothing(), "nothing is written for those who are silent");
}

#[tokio::test(start_paused = true)]
async fn whose_it_was_is_asked_with_each_flag_file_and_each_new_mapping_and_not_for_nothing() {
    let mut book = Book::resume(&[], 0, vec![]);
    let first = told(1, &[(1, 1)]);
    assert!(!book.knows_owners(&first), "a forwarder that is new");
    book.set_owners([(MappingId(Uuid::from_u128(1)), proxy(1))]);
    hear(&mut book, first.clone());
    assert!(book.knows_owners(&first));
    let moved = FwdTraffic { revision: Uuid::from_u128(9), ..first.clone() };
    assert!(!book.knows_owners(&moved), "a flag file that is new: a mapping may lead elsewhere");
    let more = told(1, &[(1, 1), (8, 1)]);
    assert!(!book.knows_owners(&more));
    // It is nobody's: its row is gone.
    hear(&mut book, more.clone());
    assert!(book.knows_owners(&more), "it was asked for");
    book.set_owners([]);
    hear(&mut book, told(1, &[(1, 5), (8, 1)]));
    let of_first: u64 = book.traffic(15, None, Some(proxy(1))).map(|(_, sum)| sum.bytes_down).sum();
    assert_eq!(of_first, 5, "a mapping that is gone is remembered while it is counted");
}

#[tokio::test(start_paused = true)]
async fn now_is_what_was_heard_lately_of_all_forwarders_of_a_client() {
    let mut book = book();
    let within = Duration::from_secs(15);
    hear(&mut book, told(1, &[(1, 0)]));
    tokio::time::advance(Duration::from_secs(1)).await;
    hear(&mut book, told(1, &[(1, 1000)]));
    let now = book.now(Instant::now(), within);
    assert_eq!((now.up_bps, now.down_bps, now.connections), (0, 8000, 1));
    assert_eq!((now.clients.len(), now.clients[0].down_bps), (1, 8000));
    tokio::time::advance(within + Duration::from_secs(1)).await;
    assert_eq!(book.now(Instant::now(), within), Now::default(), "too old to be now");
}

#[tokio::test(start_paused = true)]
async fn names_of_a_forwarder_that_was_counted_before_count_from_here_on() {
    let name = |connections| NameCount {
        name: "*.a.example".into(),
        sum: Sum { connections, bytes_up: 0, bytes_down: 0 },
    };
    let mut book = Book::resume(&[Counted { port: 15001, run: 1, carried: vec![] }], 0, vec![]);
    hear(&mut book, FwdTraffic { names: vec![name(5)], ..told(1, &[]) });
    assert_eq!(book.names.of(None), []);
    hear(&mut book, FwdTraffic { names: vec![name(7)], ..told(1, &[]) });
    hear(&mut book, FwdTraffic { names: vec![name(3)], ..told(2, &[]) });
    assert_eq!(book.names.of(None), [name(5)]);
}

/// Whatever happens in whatever order: each byte that a forwarder told of is counted once.
#[tokio::test(start_paused = true)]
async fn no_byte_is_lost_or_counted_twice_whatever_comes_and_goes() {
    use rand::{Rng, SeedableRng, rngs::StdRng};
    let seed = rand::random();
    let mut dice = StdRng::seed_from_u64(seed);
    for _play in 0..200 {
        let (mut book, mut database, mut counted) = (book(), 0_u64, HashMap::new());
        // Of each mapping what its forwarder has counted, and what all of them have ever told.
        let (mut run, mut carries, mut truth) = (1, [0_u64; 3], 0_u64);
        let mut last = [0_u64; 3];
        for _step in 0..40 {
            match dice.random_range(0..8) {
                0..=2 => carries[dice.random_range(0..3)] += dice.random_range(0..1000),
                3 | 4 => {
                    let carried = [(1, carries[0]), (2, carries[1]), (3, carries[2])];
                    hear(&mut book, told(run, &carried));
                    truth += (0..3).map(|n| carries[n] - last[n]).sum::<u64>();
                    last = carries;
                }
                5 => {
                    let written = book.take(NOW, true);
                    if dice.random() {
                        database += written
                            .traffic
                            .iter()
                            .filter(|row| row.step_s == 15)
                            .map(|row| row.sum.bytes_down)
                            .sum::<u64>();
                        written.gone.iter().for_each(|key| drop(counted.remove(key)));
                        counted.extend(written.counted.into_iter().map(|one| ((one.port, one.run), one)));
                    } else {
                        book.put_back(written);
                    }
                }
                // The forwarder dies; what it had not told is lost, and nobody can know of it.
                6 => (run, carries, last) = (run + 1, [0; 3], [0; 3]),
                // The program dies, and what it had not written of a forwarder that is dead, too.
                _ => {
                    let known: Vec<Counted> = counted.values().cloned().collect();
                    truth = database;
                    book = Book::resume(&known, 0, vec![]);
                    last = [0; 3];
                    for Carried { mapping_id, sum } in
                        known.iter().filter(|one| one.run == run).flat_map(|one| &one.carried)
                    {
                        let at = usize::try_from(mapping_id.unwrap().0.as_u128()).unwrap() - 1;
                        last[at] = sum.bytes_down;
                    }
                }
            }
            assert_eq!(database + bytes(&book), truth, "seed {seed}");
        }
    }
}
