use serde_json::json;

use super::*;

fn sent(media: Media, text: &str) -> Sent {
    Sent::new(media, Bytes::copy_from_slice(text.as_bytes()))
}

fn yaml(text: &str) -> Result<Document, Error> {
    sent(Media::Yaml, text).read()
}

/// Pointers and details of all that is wrong.
#[track_caller]
fn wrong(sent: &Sent) -> Vec<(String, String)> {
    match sent.read() {
        Err(Error::Validation(errors)) => errors.into_iter().map(|e| (e.pointer, e.detail)).collect(),
        other => panic!("{other:?}"),
    }
}

const WHOLE: &str = r##"
# How the shop's phones get out.
$schema: http://gateway:8080/v1/schema/config.json
version: 1
proxies:
  - name: exit-de
    scheme: socks5
    host: Proxy.Example
    port: 1080
    username: bob
    password: "p:#s"
    labels: {country: de}
  - {name: exit-fr, scheme: http, host: 192.0.2.1, port: 3128, enabled: false, password: null}
clients:
  - name: phone
    ip_cidr: 192.168.2.3
    mac: 02:00:5E:10:00:03
    note: |
      two
      lines
    mappings:
      - proxy: exit-de
      - {proxy: exit-fr, priority: 200, target: hostname, enabled: false}
  - {name: tv, ip_cidr: 192.168.2.4/32}
"##;

#[test]
fn a_document_says_the_same_in_yaml_and_in_json() {
    let of_yaml = yaml(WHOLE).unwrap();
    let text = serde_json::to_string(&of_yaml).unwrap();
    assert_eq!(sent(Media::Json, &text).read().unwrap(), of_yaml);
    let value = serde_json::to_value(&of_yaml).unwrap();
    assert_eq!(
        value["clients"][0]["mappings"],
        json!([
            {"proxy": "exit-de", "priority": 100, "target": "original", "enabled": true},
            {"proxy": "exit-fr", "priority": 200, "target": "hostname", "enabled": false},
        ])
    );
    assert_eq!(value["clients"][0]["note"], "two\nlines\n");
    assert_eq!(value["clients"][0]["mac"], "02:00:5e:10:00:03");
    let proxies = of_yaml.proxies.unwrap();
    assert_eq!(proxies[0].password, crate::declarative::document::Password::Is("p:#s".to_owned().into()));
    assert_eq!(proxies[1].password, crate::declarative::document::Password::None);
}

#[test]
fn every_mistake_is_told_by_its_place_and_in_yaml_by_its_line() {
    let text = "
version: 1
proxies:
  - name: a
    scheme: ftp
    host: h
    port: 70000
    pasword: x
  - scheme: http
    host: h
    port: 1
  - {name: a, scheme: http, host: h, port: 1}
  - {name: a, scheme: http, host: h, port: 1}
clients:
  - name: phone
    ip_cidr: 192.168.2.0/24
    mappings: [{proxy: a}, {proxy: a}, {priority: high}, 7]
";
    let wrong = wrong(&sent(Media::Yaml, text));
    let found: Vec<&str> = wrong.iter().map(|(pointer, _)| pointer.as_str()).collect();
    assert_eq!(
        found,
        [
            "/proxies/0/scheme",
            "/proxies/0/port",
            "/proxies/0/pasword",
            "/proxies/1/name",
            "/proxies/3/name",
            "/clients/0/mappings/1/proxy",
            "/clients/0/mappings/2/proxy",
            "/clients/0/mappings/2/priority",
            "/clients/0/mappings/3",
            "/clients/0/ip_cidr",
        ]
    );
    let detail = |pointer: &str| &wrong.iter().find(|(p, _)| p == pointer).unwrap().1;
    assert!(detail("/proxies/0/scheme").ends_with("(line 5, column 5)"), "{wrong:?}");
    assert!(detail("/proxies/0/pasword").contains("did you mean password?"), "{wrong:?}");
    assert!(detail("/proxies/1/name").ends_with("is missing (line 9, column 5)"), "{wrong:?}");
    assert!(detail("/clients/0/mappings/3").ends_with("(line 17, column 58)"), "{wrong:?}");
}

#[test]
fn half_a_thought_is_not_taken_for_a_wish_to_remove_everything() {
    for (text, pointer) in [
        ("version: 1\nclients:\n", "/clients"),
        ("version: 1\nproxies: {}\n", "/proxies"),
        ("proxies: []\n", "/version"),
        ("version: 2\n", "/version"),
        ("version: '1'\n", "/version"),
        ("version: 1\nclient: []\n", "/client"),
        ("- version: 1\n", ""),
        ("", ""),
    ] {
        let wrong = wrong(&sent(Media::Yaml, text));
        assert_eq!(wrong[0].0, pointer, "{text:?}: {wrong:?}");
    }
    assert!(yaml("version: 1\nclients: []\n").unwrap().clients.unwrap().is_empty());
}

#[test]
fn text_that_becomes_more_than_it_is_or_hides_what_it_says_is_refused() {
    let bomb =
        "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n";
    let deep_flow = format!("version: {}", "[".repeat(100_000));
    let deep_block = (0..2000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<String>();
    for (text, words) in [
        (bomb, "anchors"),
        ("version: &v 1\n", "anchors"),
        ("version: 1\nclients: *all\n", "alias"),
        ("version: 1\n<<: {clients: []}\n", "merge keys"),
        (deep_flow.as_str(), "see line"),
        (deep_block.as_str(), "depth"),
        ("version: 1\nversion: 1\n", "twice"),
        ("version: 1\n---\nversion: 1\n", "second document"),
        ("version: [1\n", "see line"),
        ("password: \"secret\\q\"\n", "see line 1"),
    ] {
        let Err(Error::MalformedYaml(told)) = yaml(text) else { panic!("{text:.60}: {:?}", yaml(text)) };
        assert!(told.contains(words), "{text:.60}: {told}");
        assert!(!told.contains("secret"), "{told}");
    }
    let latin = Sent::new(Media::Yaml, Bytes::from_static(b"version: 1\nnote: \xe4\n"));
    assert!(matches!(latin.read(), Err(Error::MalformedYaml(told)) if told.contains("line 2")));
}

#[test]
fn more_mistakes_than_anybody_reads_are_counted() {
    let clients: Vec<Value> = (0..500).map(|_| json!({"name": "x"})).collect();
    let text = json!({"version": 1, "clients": clients}).to_string();
    let wrong = wrong(&sent(Media::Json, &text));
    assert_eq!(wrong.len(), MOST_TOLD + 1);
    assert_eq!(wrong[MOST_TOLD].1, "400 further mistakes are not listed");
    let many: Vec<Value> = (0..=MOST_ENTRIES).map(|_| json!({})).collect();
    let text = json!({"version": 1, "clients": many}).to_string();
    assert_eq!(self::wrong(&sent(Media::Json, &text))[0].0, "/clients");
}
