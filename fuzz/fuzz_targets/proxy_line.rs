//! A line of a list of proxies, in whichever way somebody wrote it.
#![no_main]

use pgw_core::proxy::{ProxyAddress, Scheme};

libfuzzer_sys::fuzz_target!(|text: &str| {
    for scheme in [Scheme::Http, Scheme::Https, Scheme::Socks5] {
        match ProxyAddress::parse(text, scheme) {
            Ok(address) => {
                assert!(address.port > 0);
                let url = url(&address);
                assert_eq!(ProxyAddress::parse(&url, Scheme::Http), Ok(address), "{url}");
            }
            Err(error) => pgw_fuzz::is_fit_for_a_log(&error.to_string()),
        }
    }
});

/// The same as a URL, with everything written as a percent that might be misread.
fn url(address: &ProxyAddress) -> String {
    let ProxyAddress { scheme, host, port, credentials } = address;
    let login = credentials.as_ref().map_or_else(String::new, |credentials| {
        let percents = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        format!("{}:{}@", percents(&credentials.username), percents(credentials.password.expose()))
    });
    let v6 = host.as_str().contains(':');
    let host = if v6 { format!("[{host}]") } else { host.to_string() };
    format!("{scheme}://{login}{host}:{port}")
}
