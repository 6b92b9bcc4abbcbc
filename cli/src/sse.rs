//! Server-sent events out of the pieces in which they come.

/// One event of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Frame {
    pub(crate) event: String,
    pub(crate) data: String,
}

#[derive(Debug, Default)]
pub(crate) struct Frames {
    rest: Vec<u8>,
    begun: Frame,
    /// To resume behind it.
    pub(crate) last_id: Option<String>,
}

/// An event is a row of the journal.
const LONGEST_LINE: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than 1 MiB")]
pub(crate) struct TooLong;

impl Frames {
    /// What is whole by now.
    pub(crate) fn take(&mut self, piece: &[u8]) -> Result<Vec<Frame>, TooLong> {
        let mut whole = Vec::new();
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            if self.rest.len() + part.len() + self.begun.data.len() > LONGEST_LINE {
                return Err(TooLong);
            }
            self.rest.extend_from_slice(part);
            if self.rest.last() == Some(&b'\n') {
                let line = std::mem::take(&mut self.rest);
                whole.extend(self.line(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n'])));
            }
        }
        Ok(whole)
    }

    fn line(&mut self, line: &str) -> Option<Frame> {
        if line.is_empty() {
            let frame = std::mem::take(&mut self.begun);
            return (!frame.data.is_empty()).then_some(frame);
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => self.begun.event = value.to_owned(),
            "data" => {
                if !self.begun.data.is_empty() {
                    self.begun.data.push('\n');
                }
                self.begun.data.push_str(value);
            }
            "id" => self.last_id = Some(value.to_owned()),
            // Comments are heartbeats.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "event: hello\nid: 7\ndata: {\"id\":7}\n\n: still here\nid: 9\n\nevent: drift\r\nid: 10\r\ndata: a\r\ndata: b\r\n\r\nevent: x\ndata: cut";

    #[test]
    fn events_are_the_same_in_whatever_pieces_they_come() {
        for size in 1..STREAM.len() {
            let mut frames = Frames::default();
            let mut seen = Vec::new();
            for piece in STREAM.as_bytes().chunks(size) {
                seen.extend(frames.take(piece).unwrap());
            }
            let told: Vec<(&str, &str)> = seen.iter().map(|f| (f.event.as_str(), f.data.as_str())).collect();
            assert_eq!(told, [("hello", "{\"id\":7}"), ("drift", "a\nb")], "in pieces of {size}");
            assert_eq!(frames.last_id.as_deref(), Some("10"));
        }
    }

    #[test]
    fn a_line_without_an_end_is_not_kept_for_ever() {
        let mut frames = Frames::default();
        let piece = vec![b'x'; LONGEST_LINE / 2];
        assert_eq!(frames.take(&piece), Ok(Vec::new()));
        frames.take(&piece).unwrap();
        assert_eq!(frames.take(&piece), Err(TooLong));
    }
}
