//! Frames of one visitor's stream: bytes in, meaning out, nothing kept but where in a frame we are.

/// In front of every frame: kind, reason, length.
pub const HEAD: usize = 4;
/// The longest payload: any datagram fits.
pub const LONGEST: usize = 65_535;
/// What an unpacked payload may become.
pub const LONGEST_UNPACKED: usize = 64 * 1024;

const OPEN: u8 = 1;
const DATA: u8 = 2;
const PACKED: u8 = 3;
const END: u8 = 4;
const RESET: u8 = 5;
const IDLE: u8 = 6;

/// Why a stream ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Why {
    #[error("the connection broke")]
    Broken,
    #[error("the target refused the connection")]
    TargetRefused,
    #[error("the target did not answer in time")]
    TargetTimeout,
    #[error("the target's name could not be looked up")]
    TargetUnknown,
    #[error("the client does not agree to reach this target")]
    TargetDenied,
    #[error("the client has no room for one more connection")]
    Busy,
}

/// One step through what has arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Nothing whole is there.
    NeedMore,
    /// Bytes of the stream. Say with [`Decoder::took`] how many were taken.
    Data(&'a [u8]),
    Frame(Frame<'a>),
}

#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    Open(&'a [u8]),
    /// One datagram; of decoders of whole frames only.
    Datagram(&'a [u8]),
    Packed(&'a [u8]),
    End,
    Reset(Why),
    /// Says only that somebody is there.
    Idle,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a frame of this protocol")]
pub struct BadFrame;

/// Where in a frame the reader is.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Still to come of the data frame that has begun.
    data_left: usize,
    whole: bool,
}

impl Decoder {
    /// Data is handed on as it comes.
    pub fn of_bytes() -> Self {
        Self::default()
    }

    /// Data is handed on frame by frame.
    pub fn of_datagrams() -> Self {
        Self { data_left: 0, whole: true }
    }

    /// What `input` begins with, and how much of it that takes. Data is not taken: see `took`.
    pub fn step<'a>(&mut self, input: &'a [u8]) -> Result<(Step<'a>, usize), BadFrame> {
        if self.data_left > 0 {
            let piece = input.get(..self.data_left).unwrap_or(input);
            return Ok(if piece.is_empty() { (Step::NeedMore, 0) } else { (Step::Data(piece), 0) });
        }
        let Some(([kind, reason, high, low], rest)) = input.split_first_chunk::<HEAD>() else {
            return Ok((Step::NeedMore, 0));
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if *reason != 0 && *kind != RESET {
            return Err(BadFrame);
        }
        if *kind == DATA && !self.whole {
            self.data_left = length;
            return match rest.get(..length.min(rest.len())) {
                Some(piece) if !piece.is_empty() => Ok((Step::Data(piece), HEAD)),
                _ => Ok((Step::NeedMore, HEAD)),
            };
        }
        let allowed = match *kind {
            OPEN | DATA | PACKED => LONGEST,
            END | RESET | IDLE => 0,
            _ => return Err(BadFrame),
        };
        if length > allowed {
            return Err(BadFrame);
        }
        let Some(payload) = rest.get(..length) else { return Ok((Step::NeedMore, 0)) };
        let frame = match *kind {
            OPEN => Frame::Open(payload),
            DATA => Frame::Datagram(payload),
            PACKED => Frame::Packed(payload),
            END => Frame::End,
            RESET => Frame::Reset(Why::of(*reason).ok_or(BadFrame)?),
            _ => Frame::Idle,
        };
        Ok((Step::Frame(frame), HEAD + length))
    }

    /// So much of the data was taken.
    pub fn took(&mut self, count: usize) {
        self.data_left = self.data_left.saturating_sub(count);
    }
}

impl Why {
    const ALL: [Self; 6] = [
        Self::Broken,
        Self::TargetRefused,
        Self::TargetTimeout,
        Self::TargetUnknown,
        Self::TargetDenied,
        Self::Busy,
    ];

    fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|why| why.number() == number)
    }

    fn number(self) -> u8 {
        match self {
            Self::Broken => 0,
            Self::TargetRefused => 1,
            Self::TargetTimeout => 2,
            Self::TargetUnknown => 3,
            Self::TargetDenied => 4,
            Self::Busy => 5,
        }
    }
}

fn head(kind: u8, reason: u8, length: u16) -> [u8; HEAD] {
    let [high, low] = length.to_be_bytes();
    [kind, reason, high, low]
}

/// In front of `length` bytes of data. None: too many for one frame.
pub fn data_head(length: usize) -> Option<[u8; HEAD]> {
    u16::try_from(length).ok().map(|length| head(DATA, 0, length))
}

pub fn packed_head(length: usize) -> Option<[u8; HEAD]> {
    u16::try_from(length).ok().map(|length| head(PACKED, 0, length))
}

/// None: longer than a frame.
pub fn open(payload: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(payload.len()).ok()?;
    Some([&head(OPEN, 0, length), payload].concat())
}

pub fn end() -> [u8; HEAD] {
    head(END, 0, 0)
}

pub fn reset(why: Why) -> [u8; HEAD] {
    head(RESET, why.number(), 0)
}

pub fn idle() -> [u8; HEAD] {
    head(IDLE, 0, 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a stream means, however it is cut.
    fn read(decoder: &mut Decoder, bytes: &[u8], cut: usize) -> Result<(Vec<u8>, Vec<String>), BadFrame> {
        let (mut data, mut frames, mut left) = (Vec::new(), Vec::new(), Vec::new());
        for piece in bytes.chunks(cut.max(1)) {
            left.extend_from_slice(piece);
            loop {
                let (step, taken) = decoder.step(&left)?;
                let (taken, more) = match step {
                    Step::NeedMore => (taken, taken > 0),
                    Step::Data(piece) => {
                        data.extend_from_slice(piece);
                        let count = piece.len();
                        decoder.took(count);
                        (taken + count, true)
                    }
                    Step::Frame(frame) => {
                        frames.push(format!("{frame:?}"));
                        (taken, true)
                    }
                };
                left.drain(..taken);
                if !more {
                    break;
                }
            }
        }
        Ok((data, frames))
    }

    #[test]
    fn each_frame_is_read_as_it_was_written() {
        let mut bytes = open(b"where").unwrap();
        bytes.extend(idle());
        bytes.extend(data_head(3).unwrap());
        bytes.extend(b"abc");
        bytes.extend(data_head(0).unwrap());
        bytes.extend(packed_head(2).unwrap());
        bytes.extend(b"zz");
        bytes.extend(end());
        for why in Why::ALL {
            bytes.extend(reset(why));
        }
        let (data, frames) = read(&mut Decoder::of_bytes(), &bytes, 1).unwrap();
        assert_eq!(data, b"abc");
        assert_eq!(frames.len(), 4 + Why::ALL.len());
        assert_eq!(frames.last().unwrap(), "Reset(Busy)");
        let (_, frames) = read(&mut Decoder::of_datagrams(), &bytes, 7).unwrap();
        assert!(frames.contains(&"Datagram([])".to_owned()), "a datagram may be empty");
    }

    #[test]
    fn a_datagram_of_the_greatest_length_fits() {
        assert!(data_head(65_507).is_some() && data_head(LONGEST).is_some());
        assert_eq!(data_head(LONGEST + 1), None);
        assert_eq!(open(&vec![0; LONGEST + 1]), None);
    }

    #[test]
    fn what_is_no_frame_is_refused_at_its_head() {
        for bytes in [[0, 0, 0, 0], [7, 0, 0, 0], [4, 0, 0, 1], [5, 99, 0, 0], [2, 1, 0, 1], [6, 0, 1, 0]] {
            assert_eq!(Decoder::of_bytes().step(&bytes), Err(BadFrame), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn how_bytes_are_cut_changes_nothing(bytes: Vec<u8>, cut in 1_usize..50, whole: bool) {
            let new = || if whole { Decoder::of_datagrams() } else { Decoder::of_bytes() };
            let at_once = read(&mut new(), &bytes, bytes.len());
            prop_assert_eq!(read(&mut new(), &bytes, cut), at_once);
        }

        #[test]
        fn what_is_sent_arrives(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20), cut in 1_usize..900) {
            let mut bytes = Vec::new();
            for chunk in &chunks {
                bytes.extend(data_head(chunk.len()).unwrap());
                bytes.extend(chunk);
            }
            bytes.extend(end());
            let (data, frames) = read(&mut Decoder::of_bytes(), &bytes, cut).unwrap();
            prop_assert_eq!(data, chunks.concat());
            prop_assert_eq!(frames, ["End"]);
        }
    }
}
