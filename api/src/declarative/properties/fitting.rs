//! Undoing, where others have changed things meanwhile.

use super::*;

proptest! {
    /// `carry_out` is as strict as the store: a plan that cannot be carried out panics there.
    #[test]
    fn undoing_never_fails_and_what_was_touched_is_as_it_was_where_it_can_be(
        a in a_document(), b in a_document(), c in a_document()
    ) {
        let before = made(a);
        let mut now = before.clone();
        let forth = planned(b, &now);
        let undo = Wanted::before(&forth, &now);
        carry_out(&mut now, &forth);
        let meanwhile = planned(c, &now);
        carry_out(&mut now, &meanwhile);
        let untouched = now.clone();
        let back = plan(&undo.clone().fitted(&now), &now);
        carry_out(&mut now, &back);
        for (name, entry) in &undo.proxies {
            prop_assert_eq!(now.proxies.get(name).map(|known| &known.entry), entry.as_ref());
        }
        for (ip, entry) in &undo.clients {
            let is = now.clients.get(ip).map(|known| known.entry(*ip));
            let mut was = entry.clone();
            was.iter_mut().for_each(|was| was.mappings.retain(|way| now.proxies.contains_key(&way.proxy)));
            let same = |entry: Option<ClientEntry>| entry.map(|entry| document(vec![], vec![entry])).map(|d| content(&d));
            prop_assert_eq!(same(is), same(was));
        }
        for (name, known) in untouched.proxies.iter().filter(|(name, _)| !undo.proxies.contains_key(*name)) {
            prop_assert_eq!(now.proxies.get(name), Some(known));
        }
        for (ip, known) in untouched.clients.iter().filter(|(ip, _)| !undo.clients.contains_key(*ip)) {
            let mut known = known.clone();
            known.mappings.retain(|proxy, _| now.proxies.contains_key(proxy));
            prop_assert_eq!(now.clients.get(ip), Some(&known));
        }
    }
}

#[test]
fn a_new_proxy_that_another_gateway_has_come_to_need_is_not_taken_away_again() {
    let mut now = Snapshot::default();
    let forth = planned(document(vec![proxy_entry("exit")], vec![]), &now);
    let undo = Wanted::before(&forth, &now);
    carry_out(&mut now, &forth);
    now.proxies.get_mut("exit").unwrap().elsewhere = ["gw2".to_owned()].into();
    assert!(plan(&undo.fitted(&now), &now).steps.is_empty());
}
