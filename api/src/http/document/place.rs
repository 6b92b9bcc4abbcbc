//! Where in a YAML text the value of a JSON pointer stands. Asked only when there is something to
//! complain of, so the text is gone through once more.

use std::collections::BTreeMap;

use serde_saphyr::granit_parser::{Event, Parser, Span};

#[derive(Default)]
pub(super) struct Places(BTreeMap<String, (usize, usize)>);

/// What is being gone through, outermost first.
enum Open {
    /// The pointer of the list, and how many entries of it are over.
    List(String, usize),
    /// The pointer of the object, and the key whose value comes next.
    Object(String, Option<String>),
}

impl Places {
    /// Of a text that was read before: what cannot be read any more ends it.
    pub(super) fn of(text: &[u8]) -> Self {
        let mut places = Self::default();
        let Ok(text) = std::str::from_utf8(text) else { return places };
        let mut open = Vec::new();
        for (event, span) in Parser::new_from_str(text).map_while(Result::ok) {
            places.note(&mut open, event, span);
        }
        places
    }

    /// Where it stands, or, of something that is missing, what it is missing in. Lines and
    /// columns begin with 1.
    pub(super) fn find(&self, pointer: &str) -> Option<(usize, usize)> {
        let mut pointer = pointer;
        loop {
            if let Some(place) = self.0.get(pointer) {
                return Some(*place);
            }
            pointer = pointer.get(..pointer.rfind('/')?)?;
        }
    }

    fn note(&mut self, open: &mut Vec<Open>, event: Event<'_>, span: Span) {
        let place = (span.start.line(), span.start.col() + 1);
        match event {
            Event::Scalar(text, ..) => {
                if let Some(Open::Object(inside, key @ None)) = open.last_mut() {
                    let pointer = format!("{inside}/{}", text.replace('~', "~0").replace('/', "~1"));
                    self.0.insert(pointer.clone(), place);
                    *key = Some(pointer);
                } else {
                    drop(self.value(open, place));
                }
            }
            Event::SequenceStart(..) => {
                let pointer = self.value(open, place);
                open.push(Open::List(pointer, 0));
            }
            Event::MappingStart(..) => {
                let pointer = self.value(open, place);
                open.push(Open::Object(pointer, None));
            }
            Event::SequenceEnd | Event::MappingEnd => drop(open.pop()),
            _ => {}
        }
    }

    /// The pointer of the value that begins here.
    fn value(&mut self, open: &mut [Open], place: (usize, usize)) -> String {
        match open.last_mut() {
            Some(Open::List(inside, over)) => {
                let pointer = format!("{inside}/{over}");
                *over += 1;
                self.0.insert(pointer.clone(), place);
                pointer
            }
            // Its key says where it is; a value may begin far below.
            Some(Open::Object(_, key)) => key.take().unwrap_or_default(),
            None => {
                self.0.insert(String::new(), place);
                String::new()
            }
        }
    }
}
