//! Where the gateway is, and who asks.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use pgw_core::redact::Secret;
use pgw_core::settings::{HttpUrl, Source};

use crate::args::Global;
use crate::error::Error;

const URL: &str = "http://127.0.0.1:8080";
const AGENT_URL: &str = "http://127.0.0.1:9090";
const STATE_DIR: &str = "/var/lib/pgw";
const LARGEST_TOKEN: u64 = 4096;

pub(crate) struct Place {
    /// Without a slash at its end.
    pub(crate) url: String,
    pub(crate) agent_url: String,
    pub(crate) token: Option<Token>,
}

pub(crate) struct Token {
    pub(crate) secret: Secret,
    /// For messages.
    pub(crate) from: String,
    /// It lies in a file that others may read.
    pub(crate) is_open: bool,
}

impl Place {
    pub(crate) fn find(flags: &Global, source: &dyn Source) -> Result<Self, Error> {
        // A gateway on this machine is where its own programs look for it.
        let url = address(flags.url.as_deref(), &["PGW_URL", "PGW_API_URL"], URL, source)?;
        let agent_url = address(flags.agent_url.as_deref(), &["PGW_AGENT_URL"], AGENT_URL, source)?;
        let token = token(flags.token_file.as_deref(), is_here(&url), source)?;
        Ok(Self { url, agent_url, token })
    }

    pub(crate) fn is_here(&self) -> bool {
        is_here(&self.url)
    }
}

/// An empty variable counts as not set, as for the programs.
fn set(source: &dyn Source, name: &str) -> Option<String> {
    source.get(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

fn address(flag: Option<&str>, names: &[&str], usual: &str, source: &dyn Source) -> Result<String, Error> {
    let given = flag.map(str::to_owned).or_else(|| names.iter().find_map(|name| set(source, name)));
    let given = given.unwrap_or_else(|| usual.to_owned());
    let given = given.trim_end_matches('/').to_owned();
    let fits = HttpUrl::parse(&given).is_some_and(|url| !url.path.contains(['?', '#']));
    if fits {
        Ok(given)
    } else {
        Err(Error::Usage(format!("{given:?} is no address such as {usual} ({})", names.join(", "))))
    }
}

fn is_here(url: &str) -> bool {
    HttpUrl::parse(url).is_some_and(|url| {
        let host = url.host.to_string();
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    })
}

/// The first that there is. The gateway's own token is for the gateway itself: it is never shown to
/// another address.
fn token(flag: Option<&Path>, is_here: bool, source: &dyn Source) -> Result<Option<Token>, Error> {
    if let Some(file) = flag {
        let found = read(file)?;
        return found.map(Some).ok_or_else(|| Error::Usage(format!("{} does not exist", file.display())));
    }
    if let Some(text) = set(source, "PGW_TOKEN") {
        let from = "PGW_TOKEN".to_owned();
        return Ok(Some(Token { secret: checked(text, &from)?, from, is_open: false }));
    }
    if let Some(file) = kept_in(source)
        && let Some(found) = read(&file)?
    {
        return Ok(Some(found));
    }
    if !is_here {
        return Ok(None);
    }
    let state = set(source, "PGW_STATE_DIR").unwrap_or_else(|| STATE_DIR.to_owned());
    // Whoever may not read it comes without it, and is told what is missing by the API.
    Ok(read(&Path::new(&state).join("admin.token")).unwrap_or_default())
}

/// Where `pgw login` keeps it.
pub(crate) fn kept_in(source: &dyn Source) -> Option<PathBuf> {
    let folder = set(source, "XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = folder.or_else(|| Some(PathBuf::from(set(source, "HOME")?).join(".config")));
    Some(folder?.join("pgw/token"))
}

/// None if there is no such file.
fn read(file: &Path) -> Result<Option<Token>, Error> {
    let from = file.display().to_string();
    let unreadable = |error: io::Error| Error::NotAllowed(format!("{from} cannot be read: {error}"));
    let about = match fs::metadata(file) {
        Ok(about) => about,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(unreadable(error)),
    };
    if about.len() > LARGEST_TOKEN {
        return Err(Error::Usage(format!("{from} is too large for a token")));
    }
    let text = fs::read_to_string(file).map_err(unreadable)?;
    let is_open = about.is_file() && about.permissions().mode() & 0o007 != 0;
    let secret = checked(text.trim().to_owned(), &from)?;
    Ok(Some(Token { secret, from, is_open }))
}

/// It becomes a line of HTTP.
pub(crate) fn checked(text: String, from: &str) -> Result<Secret, Error> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Error::Usage(format!("what {from} holds is no token")));
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    struct Home(tempfile::TempDir);

    impl Home {
        fn new() -> Self {
            let home = Self(tempfile::tempdir().unwrap());
            home.write(".config/pgw/token", "kept");
            home.write("state/admin.token", "admin\n");
            home
        }

        fn path(&self, name: &str) -> String {
            self.0.path().join(name).display().to_string()
        }

        fn write(&self, name: &str, text: &str) {
            let file = self.0.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }

        fn find(&self, flags: &Global, more: &[(&str, &str)]) -> Result<Place, Error> {
            let (home, state) = (self.path(""), self.path("state"));
            let mut source = BTreeMap::from([("HOME", home.as_str()), ("PGW_STATE_DIR", state.as_str())]);
            source.extend(more.iter().copied());
            Place::find(flags, &source)
        }
    }

    fn told(place: &Place) -> &str {
        place.token.as_ref().map_or("none", |token| token.secret.expose())
    }

    #[test]
    fn a_token_is_found_in_the_order_that_is_documented() {
        let home = Home::new();
        home.write("given", "given");
        let flags = Global { token_file: Some(home.path("given").into()), ..Global::default() };
        assert_eq!(told(&home.find(&flags, &[("PGW_TOKEN", "environment")]).unwrap()), "given");
        let none = Global::default();
        assert_eq!(told(&home.find(&none, &[("PGW_TOKEN", "environment")]).unwrap()), "environment");
        assert_eq!(told(&home.find(&none, &[("PGW_TOKEN", " ")]).unwrap()), "kept");
        fs::remove_file(home.path(".config/pgw/token")).unwrap();
        assert_eq!(told(&home.find(&none, &[]).unwrap()), "admin");
        fs::remove_file(home.path("state/admin.token")).unwrap();
        assert_eq!(told(&home.find(&none, &[]).unwrap()), "none");
    }

    #[test]
    fn the_gateways_own_token_is_never_shown_to_another_address() {
        let home = Home::new();
        fs::remove_file(home.path(".config/pgw/token")).unwrap();
        for (url, want) in [
            ("http://127.0.0.1:8080", "admin"),
            ("http://localhost:8080/", "admin"),
            ("http://[::1]:8080", "admin"),
            ("http://192.168.2.1:8080", "none"),
            ("https://127.0.0.1.evil.example", "none"),
            ("http://localhost.evil.example", "none"),
        ] {
            assert_eq!(told(&home.find(&Global::default(), &[("PGW_URL", url)]).unwrap()), want, "{url}");
        }
    }

    #[test]
    fn a_gateway_on_this_machine_is_found_where_its_settings_say_unless_somebody_says_another() {
        let own = ("PGW_API_URL", "http://127.0.0.1:8888/");
        let home = Home::new();
        assert_eq!(home.find(&Global::default(), &[own]).unwrap().url, "http://127.0.0.1:8888");
        let other = ("PGW_URL", "http://gw:8080");
        assert_eq!(home.find(&Global::default(), &[own, other]).unwrap().url, "http://gw:8080");
    }

    #[test]
    fn a_token_file_that_is_named_must_be_there_and_hold_a_token() {
        let home = Home::new();
        home.write("two", "two words");
        home.write("empty", "\n");
        for name in ["missing", "two", "empty"] {
            let flags = Global { token_file: Some(home.path(name).into()), ..Global::default() };
            let Err(error) = home.find(&flags, &[]) else { panic!("{name}") };
            assert!(error.to_string().contains(name) && !error.to_string().contains("words"), "{error}");
        }
    }

    #[test]
    fn an_address_that_is_none_is_told_before_anything_is_sent() {
        for url in ["gw:8080", "ftp://gw", "http://user:pw@gw", "http://gw/?x=1", "http://"] {
            let flags = Global { url: Some(url.to_owned()), ..Global::default() };
            assert!(matches!(Home::new().find(&flags, &[]), Err(Error::Usage(_))), "{url}");
        }
    }
}
