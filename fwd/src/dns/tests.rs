//! What clients and resolvers say, and what becomes of it.

use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::rdata::{A, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::message::{Answer, BadAnswer, Carrier, Heard, Question, hear};

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn query(text: &str) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(text), RecordType::A));
    message
}

fn with_edns(mut message: Message, payload: u16) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(payload);
    message.set_edns(edns);
    message
}

fn question(message: &Message) -> Question {
    match hear(&message.to_vec().unwrap()) {
        Heard::Question(question) => *question,
        other => panic!("{other:?}"),
    }
}

fn record(owner: &str, ttl: u32) -> Record {
    Record::from_rdata(name(owner), ttl, RData::A(A::new(192, 0, 2, 1)))
}

fn soa(ttl: u32, minimum: u32) -> Record {
    let soa = SOA::new(name("ns.test."), name("op.test."), 1, 2, 3, 4, minimum);
    Record::from_rdata(name("test."), ttl, RData::SOA(soa))
}

fn long(owner: &str, bytes: usize) -> Record {
    let text = TXT::new(vec!["x".repeat(200); bytes / 200]);
    Record::from_rdata(name(owner), 60, RData::TXT(text))
}

/// A resolver's message for the question, as `change` makes it.
fn answered(asked: &Question, change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut message = Message::from_vec(&asked.key.asked(7).unwrap()).unwrap();
    message.metadata.message_type = MessageType::Response;
    change(&mut message);
    message.to_vec().unwrap()
}

fn judged(asked: &Question, change: impl FnOnce(&mut Message)) -> Answer {
    asked.key.judge(7, answered(asked, change)).unwrap()
}

#[test]
fn what_is_no_question_is_told_so_or_not_answered() {
    let edit = |change: &dyn Fn(&mut Message)| {
        let mut message = query("a.test.");
        change(&mut message);
        message.to_vec().unwrap()
    };
    let whole = edit(&|_| {});
    let opcode = |code| edit(&|m| m.metadata.op_code = code);
    let of_type = |of_type| edit(&|m| m.queries[0].query_type = of_type);
    for (bytes, want) in [
        (vec![], None),
        (whole[..11].to_vec(), None),
        (edit(&|m| m.metadata.message_type = MessageType::Response), None),
        (whole[..whole.len() - 1].to_vec(), Some(ResponseCode::FormErr)),
        (edit(&|m| m.queries.clear()), Some(ResponseCode::FormErr)),
        (edit(&|m| m.queries.push(m.queries[0].clone())), Some(ResponseCode::FormErr)),
        (opcode(OpCode::Update), Some(ResponseCode::NotImp)),
        (opcode(OpCode::Notify), Some(ResponseCode::NotImp)),
        (opcode(OpCode::Unknown(9)), Some(ResponseCode::NotImp)),
        (of_type(RecordType::AXFR), Some(ResponseCode::Refused)),
        (of_type(RecordType::IXFR), Some(ResponseCode::Refused)),
        // BADVERS: both have the number 16, and the library reads it as the other one.
        (edit(&|m| m.edns = Some(Edns::new().set_version(1).clone())), Some(ResponseCode::BADSIG)),
    ] {
        let got = match hear(&bytes) {
            Heard::Refused(reply) => {
                let reply = Message::from_vec(&reply).unwrap();
                assert_eq!((reply.metadata.id, reply.metadata.message_type), (4711, MessageType::Response));
                Some(reply.metadata.response_code)
            }
            Heard::Noise => None,
            Heard::Question(question) => panic!("{question:?}"),
        };
        assert_eq!(got, want, "{bytes:?}");
    }
    assert!(matches!(hear(&of_type(RecordType::ANY)), Heard::Question(_)));
}

#[test]
fn damaged_bytes_are_survived() {
    let asked = question(&with_edns(query("some.long.name.test."), 1232));
    let sent = with_edns(query("some.long.name.test."), 1232).to_vec().unwrap();
    let answer = answered(&asked, |m| m.answers = vec![record("some.long.name.test.", 60), long("x.", 400)]);
    for at in 0..answer.len() {
        for value in [0, 1, 0x3f, 0x40, 0xc0, 0xff] {
            let spoil = |bytes: &[u8]| {
                let mut bytes = bytes.to_vec();
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
                bytes
            };
            let _heard = hear(&spoil(&sent));
            if let Ok(answer) = asked.key.judge(7, spoil(&answer)) {
                let _reply = asked.reply(&answer, Duration::ZERO, Carrier::Datagram);
            }
        }
        assert!(asked.key.judge(7, answer[..at].to_vec()).is_err());
    }
}

#[test]
fn a_resolver_is_told_what_is_asked_for_and_nothing_else_of_the_client() {
    let mut edns = Edns::new();
    edns.set_max_payload(4096).set_dnssec_ok(true);
    edns.options_mut().insert(EdnsOption::Unknown(10, b"clients cookie".to_vec()));
    edns.options_mut().insert(EdnsOption::Unknown(8, vec![0, 1, 24, 0, 192, 168, 2]));
    let mut message = query("WwW.Test.");
    message.set_edns(edns);
    let asked = Message::from_vec(&question(&message).key.asked(0).unwrap()).unwrap();
    assert_eq!((asked.metadata.id, asked.metadata.recursion_desired), (0, true));
    assert_eq!(asked.queries[0].name().to_ascii(), "www.test.");
    let edns = asked.edns.unwrap();
    assert!(edns.flags().dnssec_ok);
    assert!(edns.option(EdnsCode::Cookie).is_none() && edns.option(EdnsCode::Subnet).is_none());
    assert!(edns.options().as_ref().is_empty());
}

#[test]
fn equal_questions_have_one_key_and_others_do_not() {
    let first = question(&query("a.test.")).key;
    assert_eq!(question(&query("A.tEsT.")).key, first);
    assert_eq!(question(&with_edns(query("a.test."), 4096)).key, first);
    let mut others = [query("b.test."), query("a.test."), query("a.test."), with_edns(query("a.test."), 512)];
    others[1].queries[0].set_query_type(RecordType::AAAA);
    others[2].metadata.checking_disabled = true;
    others[3].edns.as_mut().unwrap().set_dnssec_ok(true);
    for other in &others {
        assert_ne!(question(other).key, first, "{other}");
    }
}

#[test]
fn an_answer_is_to_the_clients_very_question() {
    let asked = question(&query("WwW.Test."));
    let answer = judged(&asked, |m| {
        m.metadata.authentic_data = true;
        m.metadata.authoritative = true;
        m.answers = vec![record("www.test.", 60), record("elsewhere.test.", 30)];
    });
    let reply = asked.reply(&answer, Duration::from_secs(20), Carrier::Datagram).unwrap();
    let reply = Message::from_vec(&reply).unwrap();
    assert_eq!(reply.metadata.id, 4711);
    assert!(reply.metadata.recursion_desired && reply.metadata.recursion_available);
    assert!(!reply.metadata.authentic_data, "it was not asked for");
    assert!(!reply.metadata.authoritative, "we are not");
    assert!(reply.edns.is_none(), "the client speaks no EDNS");
    assert_eq!(reply.queries[0].name().to_ascii(), "WwW.Test.");
    let told: Vec<_> = reply.answers.iter().map(|r| (r.name.to_ascii(), r.ttl)).collect();
    assert_eq!(told, [("WwW.Test.".to_owned(), 40), ("elsewhere.test.".to_owned(), 10)]);

    let asked = question(&with_edns(query("www.test."), 4096));
    let reply = asked.reply(&answer, Duration::ZERO, Carrier::Datagram).unwrap();
    assert_eq!(Message::from_vec(&reply).unwrap().edns.unwrap().max_payload(), 1232);
}

#[test]
fn what_fits_no_datagram_of_the_client_says_so_and_comes_whole_by_tcp() {
    for (payload, bytes, cut) in [
        (None, 400, false),
        (None, 600, true),
        (Some(0), 600, true),
        (Some(1232), 1000, false),
        (Some(1232), 1400, true),
        (Some(65535), 1400, true),
    ] {
        let message = payload.map_or(query("a.test."), |payload| with_edns(query("a.test."), payload));
        let asked = question(&message);
        let answer = judged(&asked, |m| m.answers = vec![long("a.test.", bytes)]);
        let reply =
            |carrier| Message::from_vec(&asked.reply(&answer, Duration::ZERO, carrier).unwrap()).unwrap();
        let datagram = reply(Carrier::Datagram);
        assert_eq!(
            (datagram.metadata.truncation, datagram.answers.is_empty()),
            (cut, cut),
            "{payload:?} {bytes}"
        );
        assert_eq!(datagram.edns.is_some(), payload.is_some());
        let stream = reply(Carrier::Stream);
        assert_eq!((stream.metadata.truncation, stream.answers.len()), (false, 1));
    }
}

#[test]
fn an_answer_lives_as_long_as_its_zone_allows() {
    let asked = question(&query("a.test."));
    let (no_error, no_name) = (ResponseCode::NoError, ResponseCode::NXDomain);
    let day = 24 * 60 * 60;
    for (code, answers, authorities, want) in [
        (no_error, vec![record("a.test.", 300), record("b.test.", 60)], vec![], 60),
        (no_error, vec![record("a.test.", u32::MAX)], vec![], day),
        (no_error, vec![record("a.test.", 0)], vec![], 0),
        (no_error, vec![], vec![soa(600, 30)], 30),
        (no_error, vec![], vec![], 0),
        (no_error, vec![], vec![record("a.test.", 60)], 0),
        (no_name, vec![], vec![soa(20, 30)], 20),
        (no_name, vec![], vec![soa(86_400, 86_400)], 900),
        (no_name, vec![], vec![], 0),
        (ResponseCode::ServFail, vec![], vec![], 2),
        (ResponseCode::NotImp, vec![record("a.test.", 60)], vec![], 0),
    ] {
        let answer = judged(&asked, |m| {
            m.metadata.response_code = code;
            m.answers = answers;
            m.authorities = authorities;
        });
        assert_eq!(answer.lifetime.as_secs(), want, "{code:?} {:?}", Message::from_vec(&answer.wire));
    }
    let cut = judged(&asked, |m| {
        m.answers = vec![record("a.test.", 60)];
        m.metadata.truncation = true;
    });
    assert!(cut.lifetime.is_zero());
}

#[test]
fn what_answers_another_question_is_no_answer() {
    let asked = question(&query("a.test."));
    let changes: [fn(&mut Message); 5] = [
        |m| m.metadata.id = 8,
        |m| m.metadata.message_type = MessageType::Query,
        |m| m.queries[0].name = name("b.test."),
        |m| m.queries[0].query_type = RecordType::AAAA,
        |m| m.queries.clear(),
    ];
    for change in changes {
        assert_eq!(asked.key.judge(7, answered(&asked, change)).unwrap_err(), BadAnswer::Other);
    }
    let refused = answered(&asked, |m| m.metadata.response_code = ResponseCode::Refused);
    assert_eq!(asked.key.judge(7, refused).unwrap_err(), BadAnswer::Refused);
    assert_eq!(asked.key.judge(7, b"HTTP".to_vec()).unwrap_err(), BadAnswer::Unreadable);
}
