mod documented;

use super::*;

fn api(pairs: &[(&'static str, &'static str)]) -> Result<ApiSettings, Mistakes> {
    ApiSettings::read(&pairs.iter().copied().collect::<BTreeMap<_, _>>())
}

fn agent(pairs: &[(&'static str, &'static str)]) -> Result<AgentSettings, Mistakes> {
    AgentSettings::read(&pairs.iter().copied().collect::<BTreeMap<_, _>>())
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let api = api(&[]).unwrap();
    assert_eq!(api.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(api.database_url, DatabaseUrl::Sqlite("/var/lib/pgw/pgw.db".into()));
    assert_eq!((api.gateway, api.key_file), (None, "/var/lib/pgw/secret.key".into()));
    assert_eq!(api.ports.to_string(), "15001..15999");
    assert_eq!((api.health.interval.as_secs(), api.health.timeout.as_secs()), (30, 5));
    assert_eq!(api.health.thresholds, Thresholds { degraded_ms: 1500, failures: 3 });
    assert_eq!((api.telemetry_interval.as_secs(), api.metrics_clients), (5, false));
    let resolvers: Vec<String> = api.dns_resolvers.iter().map(ToString::to_string).collect();
    assert_eq!(resolvers, ["https://1.1.1.1/dns-query", "https://8.8.8.8/dns-query"]);
    let agent = agent(&[]).unwrap();
    assert_eq!((api.dns, agent.dns), (DnsChoice::Upstream, DnsChoice::Upstream));
    assert_eq!(agent.listen.to_string(), "127.0.0.1:9090");
    assert_eq!((agent.lan_if.as_str(), agent.wan_if.as_str()), ("ens19", "eth0"));
    assert_eq!((agent.unregistered, agent.closed_action), (Unregistered::Allow, ClosedAction::Drop));
    assert_eq!(agent.drill_interval, Some(Duration::from_secs(3_600)));
    let ui = UiSettings::read(&BTreeMap::new()).unwrap();
    assert_eq!(ui.listen.to_string(), "0.0.0.0:8081");
}

#[test]
fn a_setting_that_cannot_be_used_is_named_with_its_value_and_what_is_allowed() {
    for (name, value) in [
        ("PGW_API_LISTEN", "8080"),
        ("PGW_STATE_DIR", "relative/path"),
        ("PGW_AGENT_URL", "127.0.0.1:9090"),
        ("PGW_AGENT_URL", "http://127.0.0.1:9090/agent"),
        ("PGW_DATABASE_URL", "mysql://x"),
        ("PGW_DATABASE_URL", "sqlite://relative.db"),
        ("PGW_DATABASE_URL", "postgres://"),
        ("PGW_GATEWAY", "gate way"),
        ("PGW_KEY_FILE", "secret.key"),
        ("PGW_FWD_BASE_PORT", "0"),
        ("PGW_FWD_BASE_PORT", "70000"),
        ("PGW_FWD_BASE_PORT", "1023"),
        ("PGW_FWD_BASE_PORT", "8081"),
        ("PGW_TUNNEL_MAX_PORT", "1023"),
        ("PGW_FWD_MAX_PORT", "15000"),
        ("PGW_UNITS", "docker"),
        ("PGW_HEALTH_URL", "ftp://x"),
        ("PGW_HEALTH_URL", "http://user@x/"),
        ("PGW_HEALTH_INTERVAL", "30"),
        ("PGW_HEALTH_TIMEOUT", "0s"),
        ("PGW_HEALTH_FAILURES", "0"),
        ("PGW_GEOIP_FILE", "country.mmdb"),
        ("PGW_SNI_LOG", "all"),
        ("PGW_LOG", "verbose"),
        ("PGW_DNS", "off"),
        ("PGW_DNS_RESOLVERS", "https://dns.example/dns-query"),
        ("PGW_DNS_RESOLVERS", "tcp://9.9.9.9:53,9.9.9.9"),
        ("PGW_WARM", "0"),
        ("PGW_WARM", "65"),
        ("PGW_WARM", "yes"),
        ("PGW_TELEMETRY_INTERVAL", "999ms"),
        ("PGW_TELEMETRY_INTERVAL", "2m"),
        ("PGW_METRICS_CLIENTS", "yes"),
    ] {
        let mistakes = api(&[(name, value)]).unwrap_err();
        let line = mistakes.to_string();
        assert!(line.contains(name) && line.contains(value) && !line.contains('\n'), "{line}");
        assert_eq!(mistakes.0.len(), 1, "{line}");
    }
    for (name, value) in [
        ("PGW_LAN_IF", "a\" drop"),
        ("PGW_LAN_IF", "sixteen-letters-"),
        ("PGW_WAN_IF", "ens19"),
        ("PGW_UNREGISTERED", "maybe"),
        ("PGW_CLOSED_ACTION", "accept"),
        ("PGW_DNS", "resolver"),
        ("PGW_DRILL_INTERVAL", "5s"),
        ("PGW_DRILL_INTERVAL", "never"),
    ] {
        assert!(agent(&[(name, value)]).unwrap_err().to_string().contains(name), "{name}={value}");
    }
}

#[test]
fn the_forwarders_range_covers_no_port_of_the_gateway_itself_wherever_that_was_moved() {
    for (listener, listen) in [
        ("PGW_API_LISTEN", "0.0.0.0:15999"),
        ("PGW_AGENT_LISTEN", "127.0.0.1:15001"),
        ("PGW_UI_LISTEN", "[::]:15500"),
        ("PGW_TUNNEL_LISTEN", "0.0.0.0:15002"),
    ] {
        let mistakes = api(&[(listener, listen)]).unwrap_err();
        let (line, port) = (mistakes.to_string(), listen.rsplit(':').next().unwrap());
        assert_eq!(mistakes.0.len(), 1, "{line}");
        assert!(
            line.starts_with("PGW_FWD_BASE_PORT") && line.contains(listener) && line.contains(port),
            "{line}"
        );
        assert!(agent(&[(listener, listen)]).unwrap_err().to_string().starts_with("PGW_FWD_BASE_PORT"));
    }
    // A tunnel is given no port that somebody listens on, so nothing has to be refused for them.
    api(&[("PGW_API_LISTEN", "0.0.0.0:20000")]).unwrap();
    api(&[("PGW_FWD_BASE_PORT", "1024"), ("PGW_FWD_MAX_PORT", "8079")]).unwrap();
    api(&[("PGW_API_LISTEN", "0.0.0.0:0")]).unwrap();
}

#[test]
fn the_leak_drill_can_be_turned_off() {
    assert_eq!(agent(&[("PGW_DRILL_INTERVAL", "off")]).unwrap().drill_interval, None);
    let often = agent(&[("PGW_DRILL_INTERVAL", "10s")]).unwrap().drill_interval;
    assert_eq!(often, Some(Duration::from_secs(10)));
}

#[test]
fn warm_connections_are_a_switch_and_a_number() {
    for (value, want) in [("", 8), ("on", 8), ("off", 0), ("1", 1), ("64", 64)] {
        assert_eq!(api(&[("PGW_WARM", value)]).unwrap().warm, want, "{value:?}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let mistakes = api(&[("PGW_UNITS", "x"), ("PGW_SNI_LOG", "y"), ("PGW_API_LISTEN", "z")]).unwrap_err();
    assert_eq!(mistakes.0.len(), 3);
}

#[test]
fn a_short_admin_token_is_refused_and_never_shown() {
    let line = api(&[("PGW_ADMIN_TOKEN", "hunter2")]).unwrap_err().to_string();
    assert!(line.contains("PGW_ADMIN_TOKEN") && !line.contains("hunter2"), "{line}");
    let long = api(&[("PGW_ADMIN_TOKEN", "0123456789abcdef")]).unwrap();
    assert!(!format!("{long:?}").contains("0123456789abcdef"));
}

#[test]
fn the_database_may_be_a_file_or_a_server_whose_password_is_never_shown() {
    let file = api(&[("PGW_STATE_DIR", "/srv/pgw")]).unwrap();
    assert_eq!(file.database_url, DatabaseUrl::Sqlite("/srv/pgw/pgw.db".into()));
    let server = "postgres://pgw:hunter2@db.example/pgw?sslmode=verify-full";
    for url in [server, "postgresql:///pgw?host=/run/postgresql"] {
        assert_eq!(
            api(&[("PGW_DATABASE_URL", url)]).unwrap().database_url,
            DatabaseUrl::Postgres(Secret::new(url))
        );
    }
    let settings = format!("{:?}", api(&[("PGW_DATABASE_URL", server)]).unwrap());
    assert!(!settings.contains("hunter2"), "{settings}");
    for wrong in ["mysql://root:hunter2@h/pgw", "postgres:root:hunter2@h", "pg://h/pgw?password=hunter2"] {
        let line = api(&[("PGW_DATABASE_URL", wrong)]).unwrap_err().to_string();
        assert!(line.contains("***") && !line.contains("hunter2"), "{line}");
    }
}

#[test]
fn an_empty_setting_counts_as_not_set() {
    assert_eq!(api(&[("PGW_UNITS", ""), ("PGW_ADMIN_TOKEN", " ")]).unwrap().units, UnitsChoice::Auto);
}

#[test]
fn urls_are_read_into_what_is_dialled() {
    for (text, want) in [
        ("http://h", Some((false, "h", 80, "/"))),
        ("https://h/x?y=1", Some((true, "h", 443, "/x?y=1"))),
        ("http://h:81?q", Some((false, "h", 81, "/?q"))),
        ("http://[::1]:81/", Some((false, "::1", 81, "/"))),
        ("http://[::1]", Some((false, "::1", 80, "/"))),
        ("http://h:0", None),
        ("http://", None),
        ("http://h/a b", None),
        ("h:80", None),
    ] {
        let got = HttpUrl::parse(text);
        let got = got.as_ref().map(|u| (u.tls, u.host.as_str(), u.port, u.path.as_str()));
        assert_eq!(got, want, "{text:?}");
    }
}

#[test]
fn who_may_be_meant_and_how_strict_changes_are() {
    let set = api(&[("PGW_ALLOWED_HOSTS", "gw.example.org"), ("PGW_IF_MATCH", "required")]).unwrap();
    assert_eq!(set.if_match, IfMatch::Required);
    assert!(set.allowed_hosts.unwrap().allow("gw.example.org:8080"));
    let unset = api(&[]).unwrap();
    assert_eq!((unset.if_match, unset.allowed_hosts), (IfMatch::Optional, None));
    let line = api(&[("PGW_ALLOWED_HOSTS", "*"), ("PGW_IF_MATCH", "yes")]).unwrap_err().to_string();
    assert!(line.contains("PGW_ALLOWED_HOSTS=\"*\"") && line.contains("PGW_IF_MATCH=\"yes\""), "{line}");
}
