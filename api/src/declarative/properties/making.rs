//! Applying a document makes it true, and touches nothing else.

use super::*;

proptest! {
    #[test]
    fn what_a_document_says_is_true_once_it_is_applied(a in a_document(), b in a_document()) {
        let mut now = made(a);
        let plan = planned(b.clone(), &now);
        carry_out(&mut now, &plan);
        prop_assert_eq!(content(&now.export(true)), told(&b));
    }

    #[test]
    fn a_document_that_is_true_changes_nothing(a in a_document()) {
        let now = made(a.clone());
        for document in [a, now.export(true), now.export(false)] {
            let things = document.clients.iter().flatten().map(|client| 1 + client.mappings.len()).sum::<usize>()
                + document.proxies.iter().flatten().count();
            let plan = planned(document, &now);
            prop_assert!(plan.steps.is_empty(), "{:?}", plan.steps);
            prop_assert_eq!(plan.kept, things);
        }
    }

    #[test]
    fn who_stays_keeps_its_id_and_its_port(a in a_document(), b in a_document()) {
        let before = made(a);
        let mut now = before.clone();
        let plan = planned(b, &now);
        carry_out(&mut now, &plan);
        for (ip, client) in &now.clients {
            let Some(former) = before.clients.get(ip) else { continue };
            prop_assert_eq!(client.id, former.id);
            prop_assert!(client.has_port || !former.has_port);
            for (proxy, mapping) in &client.mappings {
                prop_assert!(former.mappings.get(proxy).is_none_or(|former| former.id == mapping.id));
            }
        }
        for (name, proxy) in &now.proxies {
            prop_assert!(before.proxies.get(name).is_none_or(|former| former.id == proxy.id));
        }
    }

    /// The steps themselves are in the same order, so that of two ways out of equal priority the
    /// same one is the older on every gateway.
    #[test]
    fn the_order_in_which_a_document_says_things_means_nothing(a in a_document(), b in a_document()) {
        let now = made(a);
        let steps = |document| format!("{:?}", planned(document, &now).steps);
        let sorted = content(&b);
        prop_assert_eq!(steps(b), steps(sorted));
    }

    #[test]
    fn a_section_that_is_absent_is_left_alone(a in a_document(), b in a_document()) {
        let now = made(a);
        let of_clients = |plan: &Plan| plan.steps.iter().filter(|s| s.subject.what() != "proxy").count();
        let proxies_only = Document { clients: None, ..b };
        if let Ok(wanted) = Wanted::of(proxies_only, &now) {
            prop_assert_eq!(of_clients(&plan(&wanted, &now)), 0);
        }
        let nothing = Document { version: VERSION, proxies: None, clients: None, tunnel_clients: None };
        prop_assert_eq!(planned(nothing, &now).steps.len(), 0);
    }

    #[test]
    fn what_is_told_is_what_is_done_and_never_a_secret(a in a_document(), b in a_document()) {
        let now = made(a);
        let plan = planned(b.clone(), &now);
        let told = plan.told();
        prop_assert_eq!(told.create.len() + told.change.len() + told.remove.len(), plan.steps.len());
        for change in &told.change {
            prop_assert!(!change.fields.is_empty());
            for field in change.fields.iter().filter(|field| field.field == "password") {
                for side in [&field.from, &field.to] {
                    prop_assert!(side.is_null() || *side == "(secret)", "{side}");
                }
            }
        }
    }

    #[test]
    fn what_was_done_can_be_undone(a in a_document(), b in a_document()) {
        let before = made(a);
        let mut now = before.clone();
        let forth = planned(b, &now);
        let undo = Wanted::before(&forth, &now);
        carry_out(&mut now, &forth);
        let text = serde_json::to_string(&undo).unwrap();
        let undo: Wanted = serde_json::from_str(&text).unwrap();
        let back = plan(&undo.fitted(&now), &now);
        carry_out(&mut now, &back);
        // Of ways out of equal priority, those that were made again are the younger ones now.
        prop_assert_eq!(content(&now.export(true)), content(&before.export(true)));
    }
}

#[test]
fn a_password_of_which_nothing_is_said_stays_and_goes_with_its_user_name() {
    let mut entry = proxy_entry("exit");
    let now = made(document(vec![entry.clone()], vec![]));
    entry.password = Password::Untold;
    entry.host = "other.example".parse().unwrap();
    let told = planned(document(vec![entry.clone()], vec![]), &now).told();
    let fields: Vec<_> = told.change[0].fields.iter().map(|field| field.field).collect();
    assert_eq!(fields, ["host"]);
    entry.username = None;
    let told = planned(document(vec![entry], vec![]), &now).told();
    let fields: Vec<_> = told.change[0].fields.iter().map(|field| field.field).collect();
    assert_eq!(fields, ["host", "username", "password"]);
    assert_eq!(told.change[0].fields[2].from, "(secret)");
    assert!(told.change[0].fields[2].to.is_null());
}

#[test]
fn a_proxy_of_another_name_is_another_proxy() {
    let now = made(document(vec![proxy_entry("old")], vec![client_entry(3, &["old"])]));
    let plan = planned(document(vec![proxy_entry("new")], vec![client_entry(3, &["new"])]), &now);
    let steps: Vec<String> =
        plan.steps.iter().map(|step| format!("{} {}", step.subject.what(), step.subject)).collect();
    assert_eq!(
        steps,
        ["mapping 192.168.2.3/32 → old", "proxy old", "proxy new", "mapping 192.168.2.3/32 → new"],
        "the door is closed first and opened last"
    );
}

#[test]
fn only_those_get_a_new_port_that_have_none() {
    let proxies = vec![proxy_entry("a"), proxy_entry("b")];
    let now = made(document(proxies.clone(), vec![client_entry(1, &["a"]), client_entry(2, &[])]));
    let clients = vec![client_entry(1, &["a", "b"]), client_entry(2, &["a", "b"]), client_entry(3, &[])];
    let plan = planned(document(proxies, clients), &now);
    assert_eq!(plan.new_ports(&now), [ip(2)].into());
}
