//! A file in MaxMind's format that knows some addresses, and nothing of anybody's data: tests say
//! themselves which country is where.

use std::net::Ipv4Addr;

/// A country for each of these addresses; every other is not known.
pub fn countries(known: &[(Ipv4Addr, &str)]) -> Vec<u8> {
    let mut tree = Tree::default();
    let mut data = Vec::new();
    for (ip, country) in known {
        let at = data.len();
        let iso_code = map(&[("iso_code", text(country))]);
        data.extend(map(&[("country", iso_code)]));
        tree.insert(*ip, at);
    }
    let mut file = tree.written();
    file.extend([0; 16]);
    file.extend(data);
    file.extend(b"\xab\xcd\xefMaxMind.com");
    file.extend(map(&[
        ("node_count", number(6, tree.nodes.len() as u64)),
        ("record_size", number(5, 24)),
        ("ip_version", number(5, 4)),
        ("database_type", text("Test-Country")),
        ("languages", vec![0, 4]),
        ("binary_format_major_version", number(5, 2)),
        ("binary_format_minor_version", number(5, 0)),
        ("build_epoch", long(1_700_000_000)),
        ("description", map(&[])),
    ]));
    file
}

#[derive(Clone, Copy)]
enum Record {
    Nothing,
    Node(usize),
    Data(usize),
}

/// Bit by bit of an address, left for 0 and right for 1.
struct Tree {
    nodes: Vec<[Record; 2]>,
}

impl Default for Tree {
    fn default() -> Self {
        Self { nodes: vec![[Record::Nothing; 2]] }
    }
}

impl Tree {
    fn insert(&mut self, ip: Ipv4Addr, data: usize) {
        let mut node = 0;
        for bit in (0..32).rev() {
            let side = usize::from((ip.to_bits() >> bit) & 1 == 1);
            let fresh = self.nodes.len();
            let Some(record) = self.nodes.get_mut(node).and_then(|node| node.get_mut(side)) else { return };
            if bit == 0 {
                *record = Record::Data(data);
            } else if let Record::Node(next) = *record {
                node = next;
            } else {
                *record = Record::Node(fresh);
                self.nodes.push([Record::Nothing; 2]);
                node = fresh;
            }
        }
    }

    fn written(&self) -> Vec<u8> {
        let count = self.nodes.len();
        let value = |record: &Record| match record {
            Record::Nothing => count,
            Record::Node(node) => *node,
            Record::Data(at) => count + 16 + at,
        };
        let bytes = |record: &Record| (value(record) as u64).to_be_bytes().into_iter().skip(5);
        self.nodes.iter().flatten().flat_map(bytes).collect()
    }
}

/// A value's kind, and how long it is: less than 29, as all are here.
fn header(kind: u8, length: usize) -> u8 {
    (kind << 5) | u8::try_from(length.min(28)).unwrap_or_default()
}

fn text(text: &str) -> Vec<u8> {
    [&[header(2, text.len())], text.as_bytes()].concat()
}

/// A number of this kind.
fn number(kind: u8, value: u64) -> Vec<u8> {
    let bytes: Vec<u8> = value.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
    [vec![header(kind, bytes.len())], bytes].concat()
}

fn long(value: u64) -> Vec<u8> {
    [&[8, 2][..], &value.to_be_bytes()].concat()
}

fn map(fields: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![header(7, fields.len())];
    for (key, value) in fields {
        bytes.extend(text(key));
        bytes.extend(value);
    }
    bytes
}
