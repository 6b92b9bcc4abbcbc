//! What happens in one sequence, and when: a function of its seed.

use std::fmt;
use std::time::Duration;

use super::dice::Dice;
use crate::gateway::Program;
use crate::net::{C1, C2, Device};
use crate::upstream::Kind;

/// One device's way out by one upstream. No upstream serves two devices, so that whoever is
/// seen as another one's upstream is a leak.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) device: Device,
    pub(super) kind: Kind,
    /// As it is set up at the beginning of a sequence.
    pub(super) priority: u16,
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.device.name, self.kind.name())
    }
}

pub(super) const DEVICES: [Device; 2] = [C1, C2];
pub(super) const ROUTES: [Route; 3] = [
    Route { device: C1, kind: Kind::Squid, priority: 1 },
    Route { device: C1, kind: Kind::Microsocks, priority: 2 },
    Route { device: C2, kind: Kind::Dante, priority: 1 },
];

/// The last parts of addresses on the LAN at which nobody is. They are registered and forgotten while
/// the devices try every door: each of them changes the sets that close the others.
pub(super) const NEIGHBOURS: [u8; 2] = [241, 242];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Register(u8),
    Unregister(u8),
    Map(Route),
    Unmap(Route),
    Prefer(Route, u16),
    SwitchMapping(Route, bool),
    SwitchProxy(Kind, bool),
    KillProgram(Program),
    StopProgram(Program),
    FreezeProgram(Program),
    ReviveProgram(Program),
    KillForwarder(Device),
    FreezeForwarder(Device),
    ThawForwarder(Device),
    KillUpstream(Kind),
    FreezeUpstream(Kind),
    ReviveUpstream(Kind),
    /// Somebody else deletes both of our tables.
    FlushTables,
    /// The same, and nobody is told: not of the matrix, but that by which it is tested.
    FlushUnseen,
    /// Somebody else takes a device out of the set of the registered ones.
    ForgetDevice(Device),
    FillDisk,
    EmptyDisk,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Act {
    /// How long after the one before.
    pub(super) after: Duration,
    pub(super) operation: Operation,
}

const FEWEST: u64 = 3;
const MOST: u64 = 9;

pub(super) fn script(seed: u64) -> Vec<Act> {
    let mut dice = Dice::new(seed);
    let length = FEWEST + dice.below(MOST - FEWEST + 1);
    let all = weighted();
    let act = |_nth| {
        let operation = dice.pick(&all)?;
        Some(Act { after: pause(&mut dice), operation })
    };
    (0..length).filter_map(act).collect()
}

/// Mostly so short that the next one meets the one before half done.
fn pause(dice: &mut Dice) -> Duration {
    Duration::from_millis(match dice.below(10) {
        0..=5 => dice.below(40),
        6..=8 => dice.below(200),
        _ => dice.below(900),
    })
}

/// Everything that can happen, as often as it is likely.
fn weighted() -> Vec<Operation> {
    use Operation::*;
    let mut all = vec![FlushTables, FlushTables, FillDisk, EmptyDisk];
    for route in ROUTES {
        all.extend([Map(route), Map(route), Unmap(route), Unmap(route), Prefer(route, 1), Prefer(route, 9)]);
        all.extend([SwitchMapping(route, false), SwitchMapping(route, true)]);
        let kind = route.kind;
        all.extend([SwitchProxy(kind, false), SwitchProxy(kind, true)]);
        all.extend([KillUpstream(kind), FreezeUpstream(kind), ReviveUpstream(kind)]);
    }
    for neighbour in NEIGHBOURS {
        all.extend([Register(neighbour), Register(neighbour), Unregister(neighbour)]);
    }
    all.push(KillProgram(Program::Ui));
    for program in [Program::Api, Program::Agent] {
        let kill = KillProgram(program);
        all.extend([kill, kill, kill, kill, kill, StopProgram(program), FreezeProgram(program)]);
        all.extend([ReviveProgram(program); 5]);
    }
    for device in DEVICES {
        let kill = KillForwarder(device);
        all.extend([kill, kill, kill, FreezeForwarder(device), ThawForwarder(device), ForgetDevice(device)]);
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_gives_the_same_sequence_again_and_another_seed_another_one() {
        assert_eq!(script(7), script(7));
        assert_ne!(script(7), script(8));
    }

    #[test]
    fn everything_happens_sooner_or_later_and_every_sequence_is_bounded() {
        let mut seen = BTreeSet::new();
        for seed in 0..500 {
            let acts = script(seed);
            assert!((FEWEST..=MOST).contains(&(acts.len() as u64)), "{seed}: {}", acts.len());
            assert!(acts.iter().all(|act| act.after < Duration::from_secs(1)), "{seed}");
            seen.extend(acts.iter().map(|act| format!("{:?}", act.operation)));
        }
        let all: BTreeSet<String> = weighted().iter().map(|operation| format!("{operation:?}")).collect();
        assert_eq!(seen, all);
    }
}
