//! A client's names, through its own upstreams and by no other way (G2).

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use pgw_core::dns::Resolver;
use pgw_core::flag::FlagDns;
use rustls::HandshakeKind;
use tokio::time::Instant;

use super::fakes::{FakeProxy, Manner};
use super::resolvers::{Asker, FakeResolver, Mood, question, read_framed, write_framed};
use super::through::is_reset;
use super::*;

fn with_dns(upstreams: Vec<FlagUpstream>, resolvers: Vec<Resolver>) -> FlagFile {
    let mut flag = flag(15001);
    flag.upstreams = upstreams;
    flag.dns = Some(FlagDns { resolvers });
    flag
}

fn start(upstreams: Vec<FlagUpstream>, resolvers: Vec<Resolver>) -> Gateway {
    Gateway::start_with(with_dns(upstreams, resolvers), Dialer::new(), asked_on_port_53())
}

fn asked_on_port_53() -> Lookup {
    let to = "203.0.113.9:53".parse().unwrap();
    Arc::new(move |_stream, _peer| Ok(Origin { from: CLIENT, to }))
}

fn code(message: &Message) -> ResponseCode {
    message.metadata.response_code
}

/// Questions, answers from the cache, failures.
fn counts(gateway: &Gateway) -> (u64, u64, u64) {
    let status = gateway.status();
    (status.dns_questions, status.dns_from_cache, status.dns_failed)
}

#[tokio::test]
async fn a_name_is_asked_for_through_the_upstream_once_and_then_known() {
    let resolver = FakeResolver::tcp(Mood::Answers).await;
    let proxy = FakeProxy::to(resolver.address).await;
    let gateway = start(vec![upstream("de1", proxy.address)], vec![resolver.resolver()]);
    let asker = Asker::new(&gateway).await;
    for name in ["www.test.", "WWW.tesT."] {
        let reply = asker.ask(name).await;
        assert_eq!((code(&reply), reply.metadata.id), (ResponseCode::NoError, 7));
        assert_eq!(reply.queries[0].name().to_ascii(), name);
        assert_eq!(reply.answers[0].name.to_ascii(), name);
    }
    assert_eq!(proxy.asked(), [resolver.address.to_string()]);
    assert_eq!((resolver.questions(), counts(&gateway)), (1, (2, 1, 0)));
}

#[tokio::test]
async fn a_long_answer_is_cut_for_a_datagram_and_whole_for_a_connection() {
    let resolver = FakeResolver::tcp(Mood::Answers).await;
    let proxy = FakeProxy::to(resolver.address).await;
    let gateway = start(vec![upstream("de1", proxy.address)], vec![resolver.resolver()]);
    let asker = Asker::new(&gateway).await;
    asker.send(1, "long.test.", RecordType::TXT).await;
    let cut = asker.hear().await;
    assert!(cut.metadata.truncation && cut.answers.is_empty());
    let mut client = gateway.connect().await;
    for id in [2, 3] {
        write_framed(&mut client, &question(id, "long.test.", RecordType::TXT)).await;
        let whole = Message::from_vec(&read_framed(&mut client).await.unwrap()).unwrap();
        assert_eq!((whole.metadata.id, whole.metadata.truncation, whole.answers.len()), (id, false, 1));
    }
    assert_eq!(resolver.questions(), 1);
}

#[tokio::test]
async fn dns_over_https_keeps_its_connection_and_hides_the_message_id() {
    let (resolver, dialer) = FakeResolver::https().await;
    let proxy = FakeProxy::to(resolver.address).await;
    let doh = "https://192.0.2.53/dns-query".parse().unwrap();
    let flag = with_dns(vec![upstream("de1", proxy.address)], vec![doh]);
    let gateway = Gateway::start_with(flag, dialer, asked_on_port_53());
    let asker = Asker::new(&gateway).await;
    for name in ["a.test.", "b.test.", "c.test."] {
        let reply = asker.ask(name).await;
        assert_eq!((code(&reply), reply.metadata.id, reply.answers.len()), (ResponseCode::NoError, 7, 1));
    }
    assert_eq!(proxy.asked(), ["192.0.2.53:443"], "one connection");
    assert_eq!(*resolver.heard.ids.lock().unwrap(), [0, 0, 0]);

    gateway.change(|flag| flag.upstreams.clear());
    resolver.heard.gone.notified().await;
    gateway.change(|flag| flag.upstreams = vec![upstream("de1", proxy.address)]);
    assert_eq!(code(&asker.ask("d.test.").await), ResponseCode::NoError);
    let handshakes = resolver.heard.handshakes.lock().unwrap().clone();
    assert_eq!(handshakes, [HandshakeKind::Full, HandshakeKind::Resumed], "the second one is cheap");
}

#[tokio::test]
async fn a_resolver_whose_certificate_is_not_trusted_learns_no_name() {
    let (resolver, _trusting) = FakeResolver::https().await;
    let (_other, dialer) = FakeResolver::https().await;
    let proxy = FakeProxy::to(resolver.address).await;
    let doh = "https://192.0.2.53/dns-query".parse().unwrap();
    let flag = with_dns(vec![upstream("de1", proxy.address)], vec![doh]);
    let gateway = Gateway::start_with(flag, dialer, asked_on_port_53());
    assert_eq!(code(&Asker::new(&gateway).await.ask("a.test.").await), ResponseCode::ServFail);
    assert_eq!(resolver.questions(), 0);
}

#[tokio::test]
async fn nobody_but_the_client_is_answered() {
    let resolver = FakeResolver::tcp(Mood::Answers).await;
    let proxy = FakeProxy::to(resolver.address).await;
    let mut flag = with_dns(vec![upstream("de1", proxy.address)], vec![resolver.resolver()]);
    flag.client.ip_cidr = "192.168.2.4".parse().unwrap();
    let gateway = Gateway::start_with(flag, Dialer::new(), asked_on_port_53());
    let stranger = Asker::new(&gateway).await;
    stranger.send(1, "a.test.", RecordType::A).await;
    assert!(is_reset(&mut gateway.connect().await).await);
    gateway.change(|flag| flag.client.ip_cidr = "192.168.2.3".parse().unwrap());
    stranger.send(2, "b.test.", RecordType::A).await;
    assert_eq!(stranger.hear().await.metadata.id, 2, "the first question was never heard");
    assert_eq!((resolver.questions(), counts(&gateway).0), (1, 1));
}

#[tokio::test]
async fn equal_questions_at_the_same_time_are_asked_once() {
    let resolver = FakeResolver::tcp(Mood::Waits).await;
    let proxy = FakeProxy::to(resolver.address).await;
    let gateway = start(vec![upstream("de1", proxy.address)], vec![resolver.resolver()]);
    let asker = Asker::new(&gateway).await;
    for id in 0..20 {
        asker.send(id, "a.test.", RecordType::A).await;
    }
    while counts(&gateway).0 < 20 {
        tokio::task::yield_now().await;
    }
    resolver.heard.go.notify_one();
    let mut ids = Vec::new();
    for _answer in 0..20 {
        ids.push(asker.hear().await.metadata.id);
    }
    ids.sort_unstable();
    assert!(ids.into_iter().eq(0..20));
    assert_eq!((resolver.questions(), counts(&gateway)), (1, (20, 0, 0)));
}

#[tokio::test]
async fn more_questions_than_the_bound_are_not_heard_and_the_others_are_answered() {
    let resolver = FakeResolver::tcp(Mood::Waits).await;
    let proxy = FakeProxy::to(resolver.address).await;
    let gateway = start(vec![upstream("de1", proxy.address)], vec![resolver.resolver()]);
    let asker = Asker::new(&gateway).await;
    for id in 0..257 {
        asker.send(id, &format!("n{id}.test."), RecordType::A).await;
        while counts(&gateway).0 <= u64::from(id) {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(counts(&gateway), (257, 0, 1));
    gateway.change(|flag| flag.upstreams.clear());
    let mut ids = Vec::new();
    for _answer in 0..256 {
        ids.push(asker.hear().await.metadata.id);
    }
    ids.sort_unstable();
    assert!(ids.into_iter().eq(0..256));
    assert!(resolver.questions() <= 16, "and no more connections than that");
}

#[tokio::test]
async fn the_next_upstream_and_the_next_resolver_are_tried() {
    let good = FakeResolver::tcp(Mood::Answers).await;
    let refusing = FakeResolver::tcp(Mood::Refuses).await;
    let closed = FakeProxy::new(Manner::Answer("HTTP/1.1 403 Forbidden\r\n\r\n")).await;
    let to_good = FakeProxy::to(good.address).await;
    let gateway = start(
        vec![
            upstream("dead", nowhere().await),
            upstream("no", closed.address),
            upstream("de1", to_good.address),
        ],
        vec![good.resolver()],
    );
    assert_eq!(code(&Asker::new(&gateway).await.ask("a.test.").await), ResponseCode::NoError);
    assert_eq!(closed.asked().len(), 1);

    // The proxy leads every resolver's address to the one that refuses, then to the good one.
    let to_refusing = FakeProxy::to(refusing.address).await;
    let gateway = start(
        vec![upstream("de1", to_refusing.address), upstream("de2", to_good.address)],
        vec![refusing.resolver(), good.resolver()],
    );
    assert_eq!(code(&Asker::new(&gateway).await.ask("b.test.").await), ResponseCode::NoError);
    assert_eq!(to_refusing.asked(), [refusing.address.to_string(), good.address.to_string()]);
}

#[tokio::test]
async fn who_hangs_is_not_waited_for_alone() {
    let hangs = FakeProxy::new(Manner::Hang).await;
    let good = FakeResolver::tcp(Mood::Answers).await;
    let proxy = FakeProxy::to(good.address).await;
    let gateway =
        start(vec![upstream("de1", hangs.address), upstream("de2", proxy.address)], vec![good.resolver()]);
    let asked = Instant::now();
    assert_eq!(code(&Asker::new(&gateway).await.ask("a.test.").await), ResponseCode::NoError);
    assert!(asked.elapsed() < Duration::from_secs(4));
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_the_client_is_told_in_time() {
    let hangs = FakeProxy::new(Manner::Hang).await;
    let gateway = start(vec![upstream("de1", hangs.address)], vec!["tcp://192.0.2.53".parse().unwrap()]);
    let asker = Asker::new(&gateway).await;
    let asked = Instant::now();
    assert_eq!(code(&asker.ask("a.test.").await), ResponseCode::ServFail);
    assert!(asked.elapsed() < Duration::from_secs(6));
    gateway.change(|flag| flag.upstreams.clear());
    assert_eq!(code(&asker.ask("a.test.").await), ResponseCode::ServFail);
    gateway.change(|flag| flag.dns = None);
    assert_eq!(code(&asker.ask("a.test.").await), ResponseCode::Refused);
    assert_eq!(counts(&gateway), (3, 0, 3));
}

#[tokio::test]
async fn other_exits_forget_what_was_learnt_and_a_reload_does_not() {
    let resolver = FakeResolver::tcp(Mood::Answers).await;
    let (first, second) = (FakeProxy::to(resolver.address).await, FakeProxy::to(resolver.address).await);
    let gateway = start(vec![upstream("de1", first.address)], vec![resolver.resolver()]);
    let asker = Asker::new(&gateway).await;
    asker.ask("a.test.").await;
    gateway.change(|flag| {
        flag.revision = uuid::Uuid::nil();
        flag.dns.as_mut().unwrap().resolvers.push("tcp://192.0.2.53".parse().unwrap());
    });
    asker.ask("a.test.").await;
    assert_eq!((resolver.questions(), counts(&gateway)), (1, (2, 1, 0)));

    gateway.change(|flag| flag.upstreams = vec![upstream("fr1", second.address)]);
    resolver.heard.gone.notified().await;
    asker.ask("a.test.").await;
    assert_eq!((first.asked().len(), second.asked().len(), resolver.questions()), (1, 1, 2));
}

#[tokio::test]
async fn an_upstream_taken_away_while_it_was_asked_answers_nothing() {
    let resolver = FakeResolver::tcp(Mood::Waits).await;
    let proxy = FakeProxy::to(resolver.address).await;
    let gateway = start(vec![upstream("de1", proxy.address)], vec![resolver.resolver()]);
    let asker = Asker::new(&gateway).await;
    asker.send(1, "a.test.", RecordType::A).await;
    while resolver.questions() == 0 {
        tokio::task::yield_now().await;
    }
    gateway.change(|flag| flag.upstreams.clear());
    assert_eq!(code(&asker.hear().await), ResponseCode::ServFail);
}

#[tokio::test]
async fn a_burst_of_names_is_not_kept_waiting_by_ways_that_are_silent() {
    let hangs = FakeProxy::new(Manner::Hang).await;
    let good = FakeResolver::tcp(Mood::Answers).await;
    let proxy = FakeProxy::to(good.address).await;
    let gateway =
        start(vec![upstream("de1", hangs.address), upstream("de2", proxy.address)], vec![good.resolver()]);
    let asker = Asker::new(&gateway).await;
    let burst = 40;
    for id in 0..burst {
        asker.send(id, &format!("n{id}.test."), RecordType::A).await;
    }
    for _answer in 0..burst {
        assert_eq!(code(&asker.hear().await), ResponseCode::NoError);
    }
    assert!(hangs.asked().len() < usize::from(burst), "who was silent a moment ago is not asked first again");
    let before = hangs.asked().len();
    assert_eq!(code(&asker.ask("late.test.").await), ResponseCode::NoError);
    assert_eq!(hangs.asked().len(), before, "and nobody waits for it");
}
