use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn expect(exit_ip: Option<&str>, country: Option<&str>, stable: bool) -> Expect {
    let (exit_ip, country) =
        (exit_ip.map(|net| net.parse().unwrap()), country.map(|two| two.parse().unwrap()));
    Expect { exit_ip, country, stable }
}

fn seen(at: Option<&str>, country: Option<&str>) -> SeenExit<'static> {
    SeenExit { ip: at.map(ip), country: country.map(|two| two.parse().unwrap()), ..SeenExit::default() }
}

#[test]
fn a_contract_is_broken_with_what_is_and_what_was_expected() {
    let de = || seen(Some("203.0.113.9"), Some("DE"));
    let was = |before| SeenExit { stable: Some(ip(before)), ..de() };
    let nothing = Expect::default();
    for (expect, exclusive, seen, broken) in [
        (nothing, false, seen(None, None), None),
        (nothing, false, de(), None),
        (expect(Some("203.0.113.9"), Some("DE"), true), false, de(), None),
        (expect(Some("203.0.113.0/24"), None, false), false, de(), None),
        (expect(Some("2001:db8::/32"), None, false), false, seen(Some("2001:db8::7"), None), None),
        (
            expect(Some("203.0.113.8"), None, false),
            false,
            de(),
            Some("exit is 203.0.113.9 (DE), expected 203.0.113.8"),
        ),
        (
            expect(Some("198.51.100.0/24"), None, false),
            false,
            seen(Some("203.0.113.9"), None),
            Some("exit is 203.0.113.9, expected 198.51.100.0/24"),
        ),
        (expect(None, Some("NL"), false), false, de(), Some("exit is 203.0.113.9 (DE), expected NL")),
        (
            expect(None, Some("NL"), false),
            false,
            seen(Some("203.0.113.9"), None),
            Some(
                "exit is 203.0.113.9, expected NL, and its country is not known: PGW_GEOIP_FILE does not tell it",
            ),
        ),
        (expect(None, None, true), false, was("203.0.113.9"), None),
        (
            expect(None, None, true),
            false,
            was("203.0.113.8"),
            Some("exit is 203.0.113.9 (DE), and was 203.0.113.8"),
        ),
        (expect(None, None, false), false, was("203.0.113.8"), None),
        (expect(None, None, true), false, seen(None, None), Some("the probe did not tell the exit address")),
        (nothing, true, seen(None, None), Some("PGW_HEALTH_URL must answer with it")),
        (nothing, true, de(), Some("exit 203.0.113.9 is not reserved")),
        (nothing, true, SeenExit { hold: Hold::Own, ..de() }, None),
        (nothing, false, SeenExit { hold: Hold::Own, ..de() }, None),
        (
            nothing,
            true,
            SeenExit { hold: Hold::Taken("tv".into()), ..de() },
            Some("203.0.113.9 is used by tv"),
        ),
        (
            nothing,
            false,
            SeenExit { hold: Hold::Taken("tv".into()), ..de() },
            Some("203.0.113.9 is used by tv"),
        ),
    ] {
        let case = format!("{expect:?} {exclusive} {seen:?}");
        match (expect.judge(exclusive, &seen), broken) {
            (Contract::Kept, None) => {}
            (Contract::Broken(why), Some(want)) => assert!(why.contains(want), "{case}: {why}"),
            (found, _) => panic!("{case}: {found:?}"),
        }
    }
}

#[test]
fn why_countries_are_not_known_is_told() {
    let unset =
        SeenExit { no_countries: Some("PGW_GEOIP_FILE is not set"), ..seen(Some("203.0.113.9"), None) };
    let Contract::Broken(why) = expect(None, Some("NL"), false).judge(false, &unset) else { panic!("kept") };
    assert!(why.ends_with("PGW_GEOIP_FILE is not set"), "{why}");
}

#[test]
fn a_network_is_one_address_or_several_and_has_one_spelling() {
    for (text, want) in [
        ("203.0.113.9", Ok("203.0.113.9")),
        (" 203.0.113.9/32 ", Ok("203.0.113.9")),
        ("203.0.113.0/24", Ok("203.0.113.0/24")),
        ("2001:DB8::1/128", Ok("2001:db8::1")),
        ("203.0.113.9/24", Err(ExitNetError::Beyond("203.0.113.0/24".parse().unwrap()))),
        ("203.0.113", Err(ExitNetError::Malformed)),
        ("NL", Err(ExitNetError::Malformed)),
        ("", Err(ExitNetError::Malformed)),
    ] {
        assert_eq!(text.parse::<ExitNet>().map(|net| net.to_string()), want.map(str::to_owned), "{text:?}");
    }
}

#[test]
fn what_is_expected_is_written_without_what_is_not() {
    assert_eq!(serde_json::to_string(&Expect::default()).unwrap(), "{}");
    let all = expect(Some("203.0.113.0/24"), Some("nl"), true);
    let text = serde_json::to_string(&all).unwrap();
    assert_eq!(text, r#"{"exit_ip":"203.0.113.0/24","country":"NL","stable":true}"#);
    assert_eq!(serde_json::from_str::<Expect>(&text).unwrap(), all);
    assert!(serde_json::from_str::<Expect>(r#"{"contry":"NL"}"#).is_err());
}

proptest! {
    /// Whatever is known, where something is expected and the address is not known nobody gets out.
    #[test]
    fn an_unknown_exit_is_open_to_those_only_who_expect_nothing(
        net: bool, country: bool, stable: bool, exclusive: bool, known: bool, held in 0..3_u8
    ) {
        let expect = expect(net.then_some("0.0.0.0/0"), country.then_some("NL"), stable);
        let hold = match held { 0 => Hold::None, 1 => Hold::Own, _ => Hold::Taken("tv".into()) };
        let seen = SeenExit { hold: hold.clone(), ..seen(known.then_some("203.0.113.9"), known.then_some("NL")) };
        let kept = expect.judge(exclusive, &seen) == Contract::Kept;
        let expects = exclusive || !expect.is_nothing();
        let want = if known { hold == Hold::Own || hold == Hold::None && !exclusive } else { !expects };
        prop_assert_eq!(kept, want);
    }
}
