//! What a client asks, what a resolver answers, and how the one is told the other. The bytes
//! are read and written by hickory-proto; here is what pgw makes of them.

use std::time::Duration;

use hickory_proto::op::{Edns, Header, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use hickory_proto::serialize::binary::{BinDecodable as _, BinDecoder};

/// The largest datagram that travels in one piece everywhere, and so what we say that we take.
const WHOLE_DATAGRAM: u16 = 1232;
/// What a client without EDNS takes.
const SMALL_DATAGRAM: u16 = 512;
const LONGEST_POSITIVE: Duration = Duration::from_secs(24 * 60 * 60);
const LONGEST_NEGATIVE: Duration = Duration::from_secs(15 * 60);
/// Long enough for a client that asks again at once, and for nothing else.
const SERVFAIL_KEPT: Duration = Duration::from_secs(2);

/// How an answer travels to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    Datagram,
    Stream,
}

/// What makes two questions the same one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// In lower case.
    name: Name,
    of_type: RecordType,
    class: DNSClass,
    dnssec_ok: bool,
    checking_disabled: bool,
}

/// One question of the client.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) key: Key,
    id: u16,
    recursion_desired: bool,
    wants_authentic: bool,
    /// As the client wrote it, with its upper and lower case.
    query: Query,
    /// The largest datagram that the client takes; None when it speaks no EDNS.
    payload: Option<u16>,
}

/// What came from the client.
#[derive(Debug)]
pub(super) enum Heard {
    Question(Box<Question>),
    /// Nothing to look up: this is the answer.
    Refused(Vec<u8>),
    /// Not worth an answer.
    Noise,
}

/// A resolver's answer, as it came.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) wire: Vec<u8>,
    /// How long it may be told again; nothing when it may not.
    pub(super) lifetime: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadAnswer {
    #[error("answered what is no DNS message")]
    Unreadable,
    #[error("answered something else than it was asked")]
    Other,
    #[error("refused to answer")]
    Refused,
}

pub(super) fn hear(bytes: &[u8]) -> Heard {
    let Ok(header) = Header::read(&mut BinDecoder::new(bytes)) else { return Heard::Noise };
    let Header { metadata, counts } = header;
    // Two who answer answers would never end.
    if metadata.message_type == MessageType::Response {
        return Heard::Noise;
    }
    let refuse = |code| {
        let mut reply = Message::error_msg(metadata.id, metadata.op_code, code);
        reply.metadata.recursion_desired = metadata.recursion_desired;
        written(&reply).map_or(Heard::Noise, Heard::Refused)
    };
    if metadata.op_code != OpCode::Query {
        return refuse(ResponseCode::NotImp);
    }
    let (1, Ok(mut message)) = (counts.queries, Message::from_vec(bytes)) else {
        return refuse(ResponseCode::FormErr);
    };
    let Some(query) = message.queries.pop() else { return refuse(ResponseCode::FormErr) };
    let edns = message.edns.as_ref();
    let question = Question {
        key: Key {
            name: query.name().to_lowercase(),
            of_type: query.query_type(),
            class: query.query_class(),
            dnssec_ok: edns.is_some_and(|edns| edns.flags().dnssec_ok),
            checking_disabled: metadata.checking_disabled,
        },
        id: metadata.id,
        recursion_desired: metadata.recursion_desired,
        wants_authentic: metadata.authentic_data,
        query,
        payload: edns.map(Edns::max_payload),
    };
    let unanswerable = if message.version() > 0 {
        Some(ResponseCode::BADVERS)
    } else {
        // A zone comes in many messages, and nobody's device needs one.
        let zone = matches!(question.key.of_type, RecordType::AXFR | RecordType::IXFR);
        zone.then_some(ResponseCode::Refused)
    };
    match unanswerable.map(|code| question.without_answer(code)) {
        None => Heard::Question(Box::new(question)),
        Some(reply) => reply.map_or(Heard::Noise, Heard::Refused),
    }
}

impl Key {
    /// The question as a resolver gets it: nothing of the client's but what it asks for. No
    /// cookie and no client subnet goes on.
    pub(super) fn asked(&self, id: u16) -> Option<Vec<u8>> {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.metadata.authentic_data = true;
        message.metadata.checking_disabled = self.checking_disabled;
        let mut query = Query::query(self.name.clone(), self.of_type);
        query.set_query_class(self.class);
        message.add_query(query);
        let mut edns = Edns::new();
        edns.set_max_payload(WHOLE_DATAGRAM).set_version(0).set_dnssec_ok(self.dnssec_ok);
        message.set_edns(edns);
        written(&message)
    }

    /// Is this an answer to the question, and for how long is it true?
    pub(super) fn judge(&self, id: u16, wire: Vec<u8>) -> Result<Answer, BadAnswer> {
        let message = Message::from_vec(&wire).map_err(|_unreadable| BadAnswer::Unreadable)?;
        let metadata = &message.metadata;
        let same_question = match message.queries.as_slice() {
            [query] => {
                *query.name() == self.name
                    && query.query_type() == self.of_type
                    && query.query_class() == self.class
            }
            _ => false,
        };
        if metadata.message_type != MessageType::Response || metadata.id != id || !same_question {
            return Err(BadAnswer::Other);
        }
        if metadata.response_code == ResponseCode::Refused {
            return Err(BadAnswer::Refused);
        }
        Ok(Answer { wire, lifetime: lifetime(&message) })
    }

    /// What the name takes in memory.
    pub(super) fn size(&self) -> usize {
        self.name.len()
    }
}

/// RFC 2181 and RFC 2308: as long as the shortest-lived record; a no as long as the zone says.
fn lifetime(message: &Message) -> Duration {
    let code = message.metadata.response_code;
    if message.metadata.truncation {
        return Duration::ZERO;
    }
    if code == ResponseCode::ServFail {
        return SERVFAIL_KEPT;
    }
    let shortest = message.all_sections().map(|record| record.ttl).min();
    let negative = message.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(soa.minimum),
        _ => None,
    });
    let is_no = code == ResponseCode::NXDomain || message.answers.is_empty();
    let seconds = match (code, shortest, negative) {
        (ResponseCode::NoError | ResponseCode::NXDomain, Some(shortest), Some(negative)) => {
            shortest.min(negative)
        }
        (ResponseCode::NoError, Some(shortest), None) if !is_no => shortest,
        _ => 0,
    };
    let longest = if is_no { LONGEST_NEGATIVE } else { LONGEST_POSITIVE };
    Duration::from_secs(seconds.into()).min(longest)
}

impl Question {
    /// The resolver's answer after `age`, as an answer to this very question.
    pub(super) fn reply(&self, answer: &Answer, age: Duration, carrier: Carrier) -> Option<Vec<u8>> {
        let Ok(mut message) = Message::from_vec(&answer.wire) else { return self.failed() };
        let authentic = message.metadata.authentic_data && (self.wants_authentic || self.key.dnssec_ok);
        self.address(&mut message);
        message.metadata.authentic_data = authentic;
        let age = u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
        let sections = [&mut message.answers, &mut message.authorities, &mut message.additionals];
        for record in sections.into_iter().flatten() {
            record.ttl = record.ttl.saturating_sub(age);
            // The case that the client wrote is what it compares with.
            if record.name == *self.query.name() {
                record.name = self.query.name().clone();
            }
        }
        let reply = written(&message)?;
        if carrier == Carrier::Datagram && reply.len() > self.largest_datagram() {
            return written(&message.truncate());
        }
        Some(reply)
    }

    /// No resolver could be reached, or none made sense.
    pub(super) fn failed(&self) -> Option<Vec<u8>> {
        self.without_answer(ResponseCode::ServFail)
    }

    /// This forwarder answers no questions.
    pub(super) fn refused(&self) -> Option<Vec<u8>> {
        self.without_answer(ResponseCode::Refused)
    }

    fn without_answer(&self, code: ResponseCode) -> Option<Vec<u8>> {
        let mut message = Message::error_msg(self.id, OpCode::Query, code);
        self.address(&mut message);
        written(&message)
    }

    /// Makes a message one to this client.
    fn address(&self, message: &mut Message) {
        message.metadata.id = self.id;
        message.metadata.recursion_desired = self.recursion_desired;
        message.metadata.recursion_available = true;
        message.metadata.checking_disabled = self.key.checking_disabled;
        message.metadata.authoritative = false;
        message.queries = vec![self.query.clone()];
        // The resolver's options were for us.
        message.edns = self.payload.map(|_theirs| {
            let mut edns = Edns::new();
            edns.set_max_payload(WHOLE_DATAGRAM).set_version(0).set_dnssec_ok(self.key.dnssec_ok);
            edns
        });
    }

    fn largest_datagram(&self) -> usize {
        self.payload.unwrap_or(SMALL_DATAGRAM).clamp(SMALL_DATAGRAM, WHOLE_DATAGRAM).into()
    }
}

/// None when it does not fit a message at all.
fn written(message: &Message) -> Option<Vec<u8>> {
    message.to_vec().ok()
}
