//! What is measured, of whom.

use super::contestants::Contestant;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measure {
    /// Bytes a second that one visitor takes, or eight, and seconds of the processor for a GiB.
    Down1,
    CpuDown1,
    Down8,
    CpuDown8,
    /// The same of what they give.
    Up1,
    CpuUp1,
    Up8,
    CpuUp8,
    /// New connections a second, and microseconds of the processor for one.
    Rate,
    CpuConnection,
    /// Requests a second on one connection, or on 32, and microseconds for one.
    Asked1,
    P50At1,
    P99At1,
    Asked32,
    P50At32,
    P99At32,
    /// Requests a second of 99 visitors, alone and beside one who reads nothing.
    Free,
    Stalled,
    /// How much of the datagrams of this size came back whole, and microseconds for one.
    Whole(usize),
    DatagramP50(usize),
    /// 50 ms away; milliseconds.
    FarDown8,
    FarUp8,
    FarRate,
    FarP50,
    FarP99,
    /// And with loss.
    LossyUp8,
    LossyP99,
    /// KiB of both programs at rest, and for a connection that says nothing.
    Rest,
    Pss,
}

use Measure::*;

impl Measure {
    pub(crate) const REPEATED: [Self; 31] = [
        Down1,
        CpuDown1,
        Down8,
        CpuDown8,
        Up1,
        CpuUp1,
        Up8,
        CpuUp8,
        Rate,
        CpuConnection,
        Asked1,
        P50At1,
        P99At1,
        Asked32,
        P50At32,
        P99At32,
        Free,
        Stalled,
        Whole(1_400),
        Whole(2_500),
        Whole(9_000),
        DatagramP50(1_400),
        DatagramP50(2_500),
        DatagramP50(9_000),
        FarDown8,
        FarUp8,
        FarRate,
        FarP50,
        FarP99,
        LossyUp8,
        LossyP99,
    ];
}

pub(crate) type Samples = crate::bench::samples::Samples<Contestant, Measure>;
