//! Who may be connected at the same time. Whoever says nothing makes room for whoever comes; the
//! machine itself and the network do not take each other's places; and of the network, no host
//! takes everybody's.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

/// One host may hold this part of the network's places.
const ONE_HOST: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guest {
    /// A program on this machine: the agent's questions must be heard while the LAN is noisy, and
    /// pgw-ui speaks for many.
    Machine,
    Host(IpAddr),
}

pub(super) struct Room {
    most: usize,
    places: Mutex<Places>,
}

#[derive(Default)]
struct Places {
    taken: BTreeMap<u64, Taken>,
    /// Counts what happened, and so orders it.
    clock: u64,
}

struct Taken {
    guest: Guest,
    /// None while a request is being answered.
    quiet_since: Option<u64>,
    leave: CancellationToken,
}

/// A place, for as long as it is held, unless it is given to somebody else.
pub(super) struct Seat {
    room: Arc<Room>,
    number: u64,
    leave: CancellationToken,
}

/// A request that is being answered, until its answer has been handed over.
pub(super) struct Busy(Arc<Seat>);

impl Guest {
    /// `own` is the address that was connected to: whoever comes from there is this machine.
    pub(super) fn of(peer: IpAddr, own: Option<IpAddr>) -> Self {
        let (peer, own) = (peer.to_canonical(), own.map(|own| own.to_canonical()));
        if peer.is_loopback() || own == Some(peer) { Self::Machine } else { Self::Host(network(peer)) }
    }

    fn is_machine(self) -> bool {
        self == Self::Machine
    }
}

/// A host has a whole /64 of IPv6 to come from.
fn network(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

impl Room {
    /// `most` for the machine itself, and as many for the network.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, places: Mutex::default() })
    }

    /// None: everybody who could make room is being answered.
    pub(super) fn enter(self: &Arc<Self>, guest: Guest) -> Option<Seat> {
        let mut places = self.places();
        let same_side = |taken: &Taken| taken.guest.is_machine() == guest.is_machine();
        let same_host = |taken: &Taken| taken.guest == guest;
        let share = (self.most / ONE_HOST).max(1);
        if !guest.is_machine() && places.count(same_host) >= share {
            places.oust(same_host)?;
        } else if places.count(same_side) >= self.most {
            places.oust(same_side)?;
        }
        let (number, leave) = (places.tick(), CancellationToken::new());
        places.taken.insert(number, Taken { guest, quiet_since: Some(number), leave: leave.clone() });
        drop(places);
        Some(Seat { room: self.clone(), number, leave })
    }

    /// Descriptors ran out before places did.
    pub(super) fn make_room(&self) {
        let _nobody_quiet = self.places().oust(|_| true);
    }

    /// A panic elsewhere leaves the places whole: each change is one insert, remove or assignment.
    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn count(&self, which: impl Fn(&Taken) -> bool) -> usize {
        self.taken.values().filter(|taken| which(taken)).count()
    }

    /// Sends away the one of `which` that has been quiet for longest.
    fn oust(&mut self, which: impl Fn(&Taken) -> bool) -> Option<()> {
        let quiet = self.taken.iter().filter(|(_, taken)| which(taken));
        let quiet = quiet.filter_map(|(number, taken)| Some((taken.quiet_since?, *number)));
        let (_, number) = quiet.min()?;
        self.taken.remove(&number)?.leave.cancel();
        Some(())
    }
}

impl Seat {
    pub(super) fn ousted(&self) -> WaitForCancellationFuture<'_> {
        self.leave.cancelled()
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.room.places().taken.get(&self.number).is_none_or(|taken| taken.quiet_since.is_some())
    }

    /// None: the place has just been given to somebody else.
    pub(super) fn busy(self: &Arc<Self>) -> Option<Busy> {
        self.room.places().taken.get_mut(&self.number)?.quiet_since = None;
        Some(Busy(self.clone()))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.places().taken.remove(&self.number);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut places = self.0.room.places();
        let now = places.tick();
        if let Some(taken) = places.taken.get_mut(&self.0.number) {
            taken.quiet_since = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(last: u8) -> Guest {
        Guest::of([192, 168, 2, last].into(), Some([192, 168, 2, 1].into()))
    }

    fn sent_away(seat: &Seat) -> bool {
        seat.leave.is_cancelled()
    }

    #[test]
    fn whoever_was_quiet_for_longest_makes_room() {
        let room = Room::new(3);
        let mut seats: Vec<_> = (0..3).map(|_| Arc::new(room.enter(Guest::Machine).unwrap())).collect();
        // The first one asks something in between: now the second has been quiet for longer.
        drop(seats[0].busy().unwrap());
        seats.push(Arc::new(room.enter(Guest::Machine).unwrap()));
        assert_eq!(seats.iter().map(|s| sent_away(s)).collect::<Vec<_>>(), [false, true, false, false]);
        assert!(seats[1].busy().is_none(), "what was ousted begins nothing");
    }

    #[test]
    fn who_is_being_answered_stays_and_when_all_are_nobody_comes_in() {
        let room = Room::new(2);
        let seats: Vec<_> = (0..2).map(|_| Arc::new(room.enter(Guest::Machine).unwrap())).collect();
        let busy: Vec<_> = seats.iter().map(|seat| seat.busy().unwrap()).collect();
        assert!(room.enter(Guest::Machine).is_none());
        assert!(!seats.iter().any(|seat| sent_away(seat) || seat.is_quiet()));
        drop(busy);
        assert!(seats.iter().all(|seat| seat.is_quiet()));
        assert!(room.enter(Guest::Machine).is_some());
    }

    #[test]
    fn a_place_that_is_left_is_free() {
        let room = Room::new(1);
        for _ in 0..5 {
            let seat = Arc::new(room.enter(Guest::Machine).unwrap());
            let _busy = seat.busy().unwrap();
        }
        assert!(room.enter(Guest::Machine).is_some());
    }

    #[test]
    fn one_host_pushes_out_nobody_but_itself() {
        let room = Room::new(8);
        let others: Vec<_> = (10..16).map(|last| room.enter(host(last)).unwrap()).collect();
        let own: Vec<_> = (0..10).map(|_| room.enter(host(9)).unwrap()).collect();
        assert!(others.iter().all(|seat| !sent_away(seat)));
        assert_eq!(own.iter().filter(|seat| !sent_away(seat)).count(), 2, "a quarter");
    }

    #[test]
    fn the_network_and_the_machine_do_not_take_each_others_places() {
        let room = Room::new(4);
        let machine: Vec<_> = (0..4).map(|_| room.enter(Guest::Machine).unwrap()).collect();
        let network: Vec<_> = (2..42).map(|last| room.enter(host(last)).unwrap()).collect();
        assert!(machine.iter().all(|seat| !sent_away(seat)));
        assert_eq!(network.iter().filter(|seat| !sent_away(seat)).count(), 4);
    }

    #[test]
    fn a_guest_is_known_by_where_it_comes_from() {
        let own = Some([192, 168, 2, 1].into());
        for (peer, want) in [
            ("127.0.0.1", "machine"),
            ("::1", "machine"),
            ("::ffff:127.0.0.1", "machine"),
            ("192.168.2.1", "machine"),
            ("192.168.2.9", "192.168.2.9"),
            ("::ffff:192.168.2.9", "192.168.2.9"),
            ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::"),
        ] {
            let want = want.parse().map_or(Guest::Machine, Guest::Host);
            assert_eq!(Guest::of(peer.parse().unwrap(), own), want, "{peer}");
        }
    }
}
