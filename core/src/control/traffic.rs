//! What a forwarder has carried since it began, for whoever adds it up.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::{ClientId, MappingId};

/// Names in one answer.
pub const MAX_NAMES: usize = 32;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FwdTraffic {
    pub port: u16,
    /// Of this process alone. Another one has begun to count at zero; below 2^53.
    pub run: u64,
    pub client_id: ClientId,
    /// Of the flag file that new connections are served by.
    pub revision: Uuid,
    /// Its port belongs to another by now.
    pub draining: bool,
    /// It ends with this, and nothing was carried but what stands here. Said without being asked,
    /// to everybody who has asked before.
    pub last: bool,
    /// Open now.
    pub open: u32,
    /// Who is absent has to be counted from zero when he comes again.
    pub carried: Vec<Carried>,
    /// Those with the most weight first; none unless they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<NameCount>,
}

/// What one mapping carried. It only ever grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// Absent: of connections without a tunnel, such as questions to DNS.
    pub mapping_id: Option<MappingId>,
    #[serde(flatten)]
    pub sum: Sum,
}

/// Connections to hosts of one name. Less than there were, if there are many names and this one
/// was forgotten meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameCount {
    /// Never more of it than `*.example.co.uk`, whatever the log may hold.
    pub name: String,
    #[serde(flatten)]
    pub sum: Sum,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// That were begun.
    pub connections: u64,
    pub bytes_up: u64,
    pub bytes_down: u64,
}

impl Sum {
    pub fn add(&mut self, other: Self) {
        self.connections = self.connections.saturating_add(other.connections);
        self.bytes_up = self.bytes_up.saturating_add(other.bytes_up);
        self.bytes_down = self.bytes_down.saturating_add(other.bytes_down);
    }

    /// What has been added since it was `before`. Who counted less than before has begun anew.
    pub fn since(self, before: Self) -> Self {
        let less = self.connections < before.connections
            || self.bytes_up < before.bytes_up
            || self.bytes_down < before.bytes_down;
        if less {
            return self;
        }
        Self {
            connections: self.connections - before.connections,
            bytes_up: self.bytes_up - before.bytes_up,
            bytes_down: self.bytes_down - before.bytes_down,
        }
    }

    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }

    /// How much it counts among others: who is called often counts as well as who sends much.
    pub fn weight(self) -> u64 {
        const OF_A_CONNECTION: u64 = 16 * 1024;
        self.bytes_up
            .saturating_add(self.bytes_down)
            .saturating_add(self.connections.saturating_mul(OF_A_CONNECTION))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(connections: u64, bytes_up: u64, bytes_down: u64) -> Sum {
        Sum { connections, bytes_up, bytes_down }
    }

    #[test]
    fn a_difference_is_never_negative_and_who_counts_less_has_begun_anew() {
        for (now, before, want) in [
            (sum(3, 30, 300), sum(0, 0, 0), sum(3, 30, 300)),
            (sum(3, 30, 300), sum(1, 20, 100), sum(2, 10, 200)),
            (sum(3, 30, 300), sum(3, 30, 300), sum(0, 0, 0)),
            (sum(1, 40, 400), sum(3, 30, 300), sum(1, 40, 400)),
            (sum(4, 29, 400), sum(3, 30, 300), sum(4, 29, 400)),
            (sum(4, 40, 0), sum(3, 30, u64::MAX), sum(4, 40, 0)),
        ] {
            assert_eq!(now.since(before), want, "{now:?} after {before:?}");
        }
    }

    #[test]
    fn adding_ends_at_the_largest_number() {
        let mut all = sum(1, u64::MAX - 1, 5);
        all.add(sum(1, 7, 7));
        assert_eq!(all, sum(2, u64::MAX, 12));
        assert_eq!(all.weight(), u64::MAX);
    }
}
