//! Which thing is meant: by its id, its name, or whatever else people call it by.

use serde_json::Value;
use uuid::Uuid;

use crate::error::Error;
use crate::gateway::{Gateway, encoded, field};
use crate::words::plain;

/// A kind of thing that has names.
pub(crate) struct Noun {
    pub(crate) word: &'static str,
    pub(crate) path: &'static str,
    /// The list has pages and takes `?q=`.
    pub(crate) searched: bool,
    /// One can be asked for by its id.
    pub(crate) single: bool,
    /// What it goes by besides its name.
    pub(crate) also: fn(&Value) -> Vec<String>,
}

/// So many candidates are told.
const MOST_TOLD: usize = 10;

pub(crate) fn nothing_else(_thing: &Value) -> Vec<String> {
    Vec::new()
}

impl Noun {
    /// Exactly one, or an error that tells what there is.
    pub(crate) async fn find(&self, gateway: &Gateway, word: &str) -> Result<Value, Error> {
        let word = word.trim();
        if word.is_empty() {
            return Err(Error::Usage(format!("the name of a {} is empty", self.word)));
        }
        if self.single
            && let Ok(id) = word.parse::<Uuid>()
        {
            return match gateway.get(&format!("{}/{id}", self.path)).await {
                Err(error) if error.is_not_found() => Err(self.missing(word)),
                found => found,
            };
        }
        let candidates = if self.searched {
            let q = word.strip_suffix("/32").unwrap_or(word).to_owned();
            gateway.all(self.path, &[("q", Some(q))], usize::MAX).await?
        } else {
            gateway.whole(self.path).await?
        };
        self.choose(candidates, word)
    }

    pub(crate) async fn find_all(&self, gateway: &Gateway, words: &[String]) -> Result<Vec<Value>, Error> {
        let mut found = Vec::new();
        for word in words {
            found.push(self.find(gateway, word).await?);
        }
        Ok(found)
    }

    /// As it is written counts more than as it sounds.
    fn choose(&self, candidates: Vec<Value>, word: &str) -> Result<Value, Error> {
        let goes_by = |thing: &Value, fits: &dyn Fn(&str) -> bool| {
            fits(field(thing, "name")) || (self.also)(thing).iter().any(|other| fits(other))
        };
        let exactly = |thing: &&Value| field(thing, "id") == word || goes_by(thing, &|name| name == word);
        let lower = word.to_lowercase();
        let roughly = |thing: &&Value| goes_by(thing, &|name| name.to_lowercase() == lower);
        let mut meant: Vec<&Value> = candidates.iter().filter(exactly).collect();
        if meant.is_empty() {
            meant = candidates.iter().filter(roughly).collect();
        }
        match meant.as_slice() {
            [] => Err(self.missing(word)),
            [one] => Ok((*one).clone()),
            several => Err(self.ambiguous(word, several)),
        }
    }

    fn missing(&self, word: &str) -> Error {
        Error::NotFound(format!("there is no {} {:?}; see: pgw {} list", self.word, plain(word), self.word))
    }

    fn ambiguous(&self, word: &str, several: &[&Value]) -> Error {
        let mut words =
            format!("{:?} may be any of {} {}s; say its id:", plain(word), several.len(), self.word);
        for thing in several.iter().take(MOST_TOLD) {
            let names = std::iter::once(field(thing, "name").to_owned()).chain((self.also)(thing));
            let names: Vec<String> = names.filter(|name| !name.is_empty()).map(|name| plain(&name)).collect();
            words.push_str(&format!("\n  {}  {}", field(thing, "id"), names.join("  ")));
        }
        Error::Usage(words)
    }

    pub(crate) fn at(&self, thing: &Value, rest: &str) -> String {
        format!("{}/{}/{rest}", self.path, encoded(field(thing, "id")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOUN: Noun = Noun {
        word: "client",
        path: "/v1/clients",
        searched: true,
        single: true,
        also: |thing| vec![field(thing, "ip_cidr").trim_end_matches("/32").to_owned()],
    };

    fn devices() -> Vec<Value> {
        [
            ("1", "tv", "10.0.0.1/32"),
            ("2", "TV", "10.0.0.2/32"),
            ("3", "10.0.0.1", "10.0.0.3/32"),
            ("4", "pc", "10.0.0.4/32"),
        ]
        .map(|(id, name, ip)| json!({"id": id, "name": name, "ip_cidr": ip}))
        .into()
    }

    #[test]
    fn what_is_meant_is_found_and_what_is_not_clear_is_asked_back() {
        for (word, want) in [
            ("tv", Ok("1")),
            ("TV", Ok("2")),
            ("Tv", Err("may be any of 2")),
            ("10.0.0.2", Ok("2")),
            ("10.0.0.1", Err("may be any of 2")),
            ("PC", Ok("4")),
            ("4", Ok("4")),
            ("p", Err("there is no client \"p\"")),
        ] {
            match (NOUN.choose(devices(), word), want) {
                (Ok(found), Ok(id)) => assert_eq!(field(&found, "id"), id, "{word}"),
                (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{word}: {error}"),
                (got, want) => panic!("{word}: {got:?}, not {want:?}"),
            }
        }
        let told = NOUN.choose(devices(), "10.0.0.1").unwrap_err().to_string();
        assert!(told.contains("\n  1  tv  10.0.0.1\n  3  10.0.0.1  10.0.0.3"), "{told}");
    }
}
