//! What a document may not say, given what there is.

use super::*;
use crate::declarative::{Refused, prepare};
use crate::store::Conflict;

fn pointers(document: Document, now: &Snapshot) -> Vec<String> {
    let mistakes = Wanted::of(document, now).unwrap_err();
    mistakes.into_iter().map(|mistake| mistake.pointer).collect()
}

#[test]
fn every_way_out_by_an_unknown_proxy_is_pointed_at() {
    let now = made(document(vec![proxy_entry("there")], vec![]));
    let clients = vec![client_entry(1, &["there", "nowhere"]), client_entry(2, &["never"])];
    let of_clients = Document { proxies: None, ..document(vec![], clients.clone()) };
    let unknown = ["/clients/0/mappings/1/proxy", "/clients/1/mappings/0/proxy"];
    assert_eq!(pointers(of_clients, &now), unknown);
    assert_eq!(
        pointers(document(vec![proxy_entry("nowhere")], clients), &now),
        ["/clients/0/mappings/0/proxy", "/clients/1/mappings/0/proxy"],
        "a section that is present is the whole of it"
    );
}

#[test]
fn a_proxy_goes_only_with_the_word_of_those_who_need_it() {
    let mut now = made(document(vec![proxy_entry("exit")], vec![client_entry(1, &["exit"])]));
    let none_left = Document { clients: None, ..document(vec![], vec![]) };
    assert_eq!(pointers(none_left.clone(), &now), ["/proxies"]);
    let and_no_way = document(vec![], vec![client_entry(1, &[])]);
    assert_eq!(planned(and_no_way.clone(), &now).told().remove.len(), 2);
    now.proxies.get_mut("exit").unwrap().elsewhere = ["gw2".to_owned()].into();
    assert_eq!(pointers(and_no_way, &now), ["/proxies"]);
    assert_eq!(pointers(none_left, &now).len(), 2);
}

#[test]
fn more_devices_than_ports_are_refused_before_anything_is_done() {
    let ports = PortRange::spanning(15001, 15002);
    let proxies = vec![proxy_entry("exit")];
    let clients: Vec<_> = (1..=3).map(|last| client_entry(last, &["exit"])).collect();
    let now = Snapshot::default();
    let two = document(proxies.clone(), clients[..2].to_vec());
    assert!(prepare(two.clone(), &now, &ground(&ports)).is_ok());
    let refused = prepare(document(proxies, clients), &now, &ground(&ports)).unwrap_err();
    assert!(matches!(refused, Refused::Conflict(Conflict::PortsExhausted { .. })), "{refused:?}");
    // A port outside of the range, as of a former configuration, takes none inside of it.
    let now = Snapshot { ports: [15002, 20000].into(), ..now };
    assert!(prepare(two, &now, &ground(&ports)).is_err());
}
