//! What a device asks, and what a resolver answers. The first byte tells how long the question is.
#![no_main]

use std::time::Duration;

use hickory_proto::op::Message;
use message::{Answer, Carrier, Heard, Key, Question, hear};

#[path = "../../fwd/src/dns/message.rs"]
mod message;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const WHOLE_DATAGRAM: usize = 1232;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((length, rest)) = bytes.split_first() else { return };
    let (asked, answered) = rest.split_at(rest.len().min(usize::from(*length)));
    let question = match hear(asked) {
        Heard::Question(question) => question,
        Heard::Refused(reply) => return is_reply(asked, &reply),
        Heard::Noise => return,
    };
    let key = passed_on(&question);
    is_reply(asked, &question.failed().expect("a failure can always be told"));
    is_reply(asked, &question.refused().expect("a refusal can always be told"));
    // Only a matching number gets an answer further than the first look.
    let mut wire = answered.to_vec();
    wire.iter_mut().zip(7_u16.to_be_bytes()).for_each(|(byte, number)| *byte = number);
    let Ok(answer) = key.judge(7, wire) else { return };
    assert!(answer.lifetime <= DAY);
    for age in [Duration::ZERO, answer.lifetime, Duration::MAX] {
        replied(asked, &question, &answer, age);
    }
});

/// A resolver hears the question that the device asked, and nothing else of it.
fn passed_on(question: &Question) -> Key {
    let passed_on = question.key.asked(7).expect("what was asked can be asked");
    assert!(passed_on.len() <= 512, "a question without a body");
    let Heard::Question(again) = hear(&passed_on) else { panic!("what is passed on is no question") };
    assert_eq!(again.key, question.key);
    assert!(question.key.size() <= 255);
    again.key
}

fn replied(asked: &[u8], question: &Question, answer: &Answer, age: Duration) {
    for carrier in [Carrier::Datagram, Carrier::Stream] {
        let Some(reply) = question.reply(answer, age, carrier) else { continue };
        assert!(carrier == Carrier::Stream || reply.len() <= WHOLE_DATAGRAM, "{} bytes", reply.len());
        is_reply(asked, &reply);
    }
}

fn is_reply(asked: &[u8], reply: &[u8]) {
    assert_eq!(reply.get(..2), asked.get(..2), "the number of another question");
    assert!(Message::from_vec(reply).is_ok(), "a reply that cannot be read");
    assert!(matches!(hear(reply), Heard::Noise), "two who answer replies never end");
}
