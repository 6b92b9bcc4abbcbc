//! What is measured, of whom.

use super::contestants::Contestant;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measure {
    /// Bytes a second with one stream and with eight, and seconds of the processor for a GiB.
    Bulk1,
    Cpu1,
    Bulk8,
    Cpu8,
    /// New connections a second, and microseconds of the processor for one.
    Rate,
    CpuConnection,
    /// Microseconds to the last byte of a small answer, and from there to the end of the stream.
    P50,
    P99,
    End,
    /// The same with 50 ms in between, in connections a second and milliseconds.
    FarRate,
    FarP50,
    FarP99,
    /// Round trips to the answer: the first one of all, and those that follow.
    Cold,
    Warm,
    /// KiB.
    Rest,
    /// KiB and descriptors for a connection that says nothing, at so many of them.
    Pss(usize),
    Descriptors(usize),
    /// KiB that the machine's kernel took for it, at both ends too.
    Slab(usize),
    /// KiB and percent of a core for so many forwarders that do nothing.
    IdlePss(usize),
    IdleCpu(usize),
    /// Microseconds: of an answer from the cache, and of the processor for it.
    NameP50,
    NameP99,
    NameCpu,
    /// Round trips for a name that is not known yet.
    NameMiss,
}

impl Measure {
    pub(crate) const NEAR: [Self; 9] = [
        Self::Bulk1,
        Self::Cpu1,
        Self::Bulk8,
        Self::Cpu8,
        Self::Rate,
        Self::CpuConnection,
        Self::P50,
        Self::P99,
        Self::End,
    ];
    pub(crate) const FAR: [Self; 5] = [Self::FarRate, Self::FarP50, Self::FarP99, Self::Cold, Self::Warm];
}

/// Two sockets are more than the one, and a connection is less than the other.
const SENSIBLE_KIB: std::ops::Range<f64> = 2.0..64.0;

pub(crate) type Samples = crate::bench::samples::Samples<Contestant, Measure>;

impl Samples {
    /// KiB for a connection that says nothing, with what the kernel has for it beyond what the ends
    /// have by themselves. None if the machine was too busy to tell: the kernel's memory is counted
    /// for all of it.
    pub(crate) fn whole(&self, who: Contestant, count: usize) -> Option<f64> {
        let slab = |who| self.median(who, Measure::Slab(count));
        let kernel = slab(who)? - slab(Contestant::Direct)?;
        SENSIBLE_KIB.contains(&kernel).then_some(self.median(who, Measure::Pss(count))? + kernel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_others_took_is_not_put_down_to_a_connection() {
        for (kernel, want) in [(11.5, Some(6.0)), (5.5, None), (-300.0, None), (400.0, None)] {
            let mut samples = Samples::default();
            samples.add(Contestant::Direct, Measure::Slab(1_000), 6.0);
            samples.add(Contestant::Bare, Measure::Slab(1_000), kernel);
            samples.add(Contestant::Bare, Measure::Pss(1_000), 0.5);
            assert_eq!(samples.whole(Contestant::Bare, 1_000), want, "{kernel}");
        }
    }
}
