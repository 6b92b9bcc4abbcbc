//! Which port a client's forwarder gets. The database's unique index is the judge; this is
//! only the adviser.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;

/// `PGW_FWD_BASE_PORT`..=`PGW_FWD_MAX_PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRange(RangeInclusive<u16>);

impl PortRange {
    /// The ports between the two, both included, whichever is the lower.
    pub fn spanning(a: u16, b: u16) -> Self {
        Self(a.min(b)..=a.max(b))
    }

    pub fn base(&self) -> u16 {
        *self.0.start()
    }

    pub fn max(&self) -> u16 {
        *self.0.end()
    }

    pub fn contains(&self, port: u16) -> bool {
        self.0.contains(&port)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub fn lowest_free(&self, taken: &BTreeSet<u16>) -> Option<u16> {
        self.0.clone().find(|port| !taken.contains(port))
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.base(), self.max())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_port_is_taken_and_an_exhausted_range_says_so() {
        let range = PortRange::spanning(15001, 15003);
        for (taken, want) in [
            (vec![], Some(15001)),
            (vec![15001], Some(15002)),
            (vec![15002, 15003], Some(15001)),
            (vec![15001, 15003, 14000], Some(15002)),
            (vec![15001, 15002, 15003], None),
        ] {
            assert_eq!(range.lowest_free(&taken.iter().copied().collect()), want, "{taken:?}");
        }
    }

    #[test]
    fn a_range_that_ends_at_the_last_port_does_not_overflow() {
        let range = PortRange::spanning(65535, 65535);
        assert_eq!(range.lowest_free(&BTreeSet::new()), Some(65535));
        assert_eq!(range.lowest_free(&BTreeSet::from([65535])), None);
    }
}
