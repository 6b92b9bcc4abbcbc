//! What the counts mean. Closed is said only of what was seen: all of it met the rules, none of
//! it came out, and what nobody closes did come out, before the same eyes (G17).

use pgw_core::drill::{Kind, Outcome};

use crate::nft::drill::{Canary, Place, Tally};

/// Of each kind, by each sender.
pub(super) const EACH: u64 = 3;

/// The counts before, between and after the two rounds: first those whom nobody closes send,
/// then the closed device does.
pub(super) struct Counts {
    pub(super) before: Tally,
    pub(super) between: Tally,
    pub(super) after: Tally,
}

pub(super) struct Judgement {
    pub(super) outcome: Outcome,
    pub(super) detail: String,
    pub(super) kinds: Vec<Kind>,
}

/// How many came by since.
pub(super) fn since(before: &Tally, after: &Tally, place: Place, canary: Canary) -> u64 {
    let count = |tally: &Tally| tally.get(&(place, canary)).copied().unwrap_or_default();
    count(after).saturating_sub(count(before))
}

pub(super) fn judge(counts: &Counts, without_ipv6: Option<&str>) -> Judgement {
    let Counts { before, between, after } = counts;
    let kind = |canary: Canary| {
        let not_tried = without_ipv6.filter(|_| canary.is_ipv6());
        Kind {
            kind: canary.name().to_owned(),
            sent: if not_tried.is_some() { 0 } else { EACH },
            met: since(between, after, Place::Met, canary),
            leaked: since(before, after, Place::Leaked, canary),
            control: since(before, between, Place::Control, canary),
            not_tried: not_tried.map(str::to_owned),
        }
    };
    let kinds: Vec<Kind> = Canary::ALL.map(kind).into();
    let (outcome, detail) = verdict(&kinds);
    Judgement { outcome, detail, kinds }
}

fn verdict(kinds: &[Kind]) -> (Outcome, String) {
    let which = |wrong: &dyn Fn(&Kind) -> bool| {
        let names: Vec<&str> =
            kinds.iter().filter(|kind| wrong(kind)).map(|kind| kind.kind.as_str()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    if let Some(leaked) = which(&|kind| kind.leaked > 0) {
        return (Outcome::Leaked, format!("packets of a closed device come out of the gateway: {leaked}"));
    }
    if let Some(unseen) = which(&|kind| kind.control < kind.sent) {
        let told = format!(
            "nothing is proven: what nobody closes was not seen coming out either ({unseen}); does another \
             firewall hold it back, or is forwarding off?"
        );
        return (Outcome::NotRun, told);
    }
    if let Some(lost) = which(&|kind| kind.met < kind.sent) {
        let told =
            format!("nothing is proven: a closed device's packets did not all meet the rules ({lost})");
        return (Outcome::NotRun, told);
    }
    let sent: u64 = kinds.iter().map(|kind| kind.sent).sum();
    if sent == 0 {
        return (Outcome::NotRun, "nothing is proven: nothing could be sent".to_owned());
    }
    (Outcome::Closed, format!("{sent} packets of a closed device met the rules, and none came out"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(count: impl Fn(Place, Canary) -> u64) -> Tally {
        let all = Place::ALL.into_iter().flat_map(|place| Canary::ALL.map(|canary| (place, canary)));
        all.map(|(place, canary)| ((place, canary), count(place, canary))).collect()
    }

    /// As on a gateway that keeps its promise, on top of what was counted before.
    fn healthy() -> Counts {
        let control = |place| if place == Place::Control { EACH } else { 0 };
        let met = |place| if place == Place::Met { 2 * EACH } else { 0 };
        Counts {
            before: tally(|_, _| 7),
            between: tally(|place, _| 7 + control(place) + met(place) / 2),
            after: tally(|place, _| 7 + control(place) + met(place)),
        }
    }

    fn add(tally: &mut Tally, place: Place, canary: Canary, more: i64) {
        let count = tally.get_mut(&(place, canary)).unwrap();
        *count = count.checked_add_signed(more).unwrap();
    }

    #[test]
    fn closed_is_said_when_all_met_the_rules_and_none_came_out() {
        let judged = judge(&healthy(), None);
        assert_eq!(judged.outcome, Outcome::Closed, "{}", judged.detail);
        assert!(judged.kinds.iter().all(|kind| (kind.sent, kind.met, kind.leaked) == (EACH, EACH, 0)));
        assert!(judged.detail.starts_with("33 packets"), "{}", judged.detail);
    }

    #[test]
    fn one_packet_that_came_out_is_a_leak_whatever_else_was_seen() {
        for canary in Canary::ALL {
            for lost in [0, -1] {
                let mut counts = healthy();
                add(&mut counts.after, Place::Leaked, canary, 1);
                add(&mut counts.after, Place::Met, canary, lost);
                let judged = judge(&counts, None);
                assert_eq!(judged.outcome, Outcome::Leaked);
                assert!(judged.detail.contains(canary.name()), "{}", judged.detail);
            }
        }
    }

    #[test]
    fn what_was_not_seen_is_never_called_closed() {
        for canary in Canary::ALL {
            let (mut unseen, mut lost) = (healthy(), healthy());
            add(&mut unseen.between, Place::Control, canary, -1);
            add(&mut lost.after, Place::Met, canary, -1);
            for counts in [unseen, lost] {
                let judged = judge(&counts, None);
                assert_eq!(judged.outcome, Outcome::NotRun);
                assert!(judged.detail.contains(canary.name()), "{}", judged.detail);
            }
        }
        // Somebody loaded the rules anew in the middle of it: all counts begin again.
        let started_again = Counts { after: tally(|_, _| 0), ..healthy() };
        assert_eq!(judge(&started_again, None).outcome, Outcome::NotRun);
    }

    #[test]
    fn a_way_that_the_gateway_has_not_is_told_as_not_tried() {
        let mut counts = healthy();
        for canary in Canary::ALL.into_iter().filter(|canary| canary.is_ipv6()) {
            add(&mut counts.between, Place::Control, canary, -3);
        }
        let judged = judge(&counts, Some("no IPv6 here"));
        assert_eq!(judged.outcome, Outcome::Closed, "{}", judged.detail);
        let told: Vec<&str> = judged.kinds.iter().filter_map(|kind| kind.not_tried.as_deref()).collect();
        assert_eq!(told, ["no IPv6 here"; 3]);
    }
}
