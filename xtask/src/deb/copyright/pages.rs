//! The npm packages in the pages: as the bundler has kept them beside what it made
//! (`ui/web/terms.ts`), a folder for each, with its licences as they came and a file with what it is.

use std::fs;
use std::path::Path;

use super::{Work, texts_in};
use crate::run::{Failed, cannot};

pub(super) const PLACE: &str = "target/web/.vite/packages";
const ABOUT: &str = "about";

pub(super) fn of(place: &Path) -> Result<Vec<Work>, Failed> {
    let told = place.display().to_string();
    let mut works = Vec::new();
    for entry in fs::read_dir(place).map_err(cannot(&told))? {
        works.push(work(&entry.map_err(cannot(&told))?.path())?);
    }
    works.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    if works.is_empty() {
        return Err(Failed(format!("{told} does not say what the pages are made of; run `cargo xtask web`")));
    }
    Ok(works)
}

fn work(folder: &Path) -> Result<Work, Failed> {
    let told = folder.display().to_string();
    let about = fs::read_to_string(folder.join(ABOUT)).map_err(cannot(&told))?;
    let lines: Vec<&str> = about.lines().collect();
    let [name, version, licence, home] = lines.as_slice() else {
        return Err(Failed(format!("{told}/{ABOUT} does not hold four lines")));
    };
    let texts = texts_in(folder);
    if licence.is_empty() || texts.is_empty() {
        return Err(Failed(format!("the npm package {name} {version} does not say on which terms it is")));
    }
    // A path of Debian's list.
    let name = name.trim_start_matches('@').to_owned();
    let (version, licence, home) = ((*version).to_owned(), (*licence).to_owned(), (*home).to_owned());
    Ok(Work { kind: "npm", name, version, licence, home, texts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_package_is_named_and_one_without_terms_is_refused() {
        let place = std::env::temp_dir().join(format!("pgw-xtask-packages-{}", std::process::id()));
        let put = |name: &str, file: &str, text: &str| {
            fs::create_dir_all(place.join(name)).unwrap();
            fs::write(place.join(name).join(file), text).unwrap();
        };
        put("uplot@1.6.32", "about", "uplot\n1.6.32\nMIT\nhttps://github.com/leeoniya/uPlot\n");
        put("uplot@1.6.32", "LICENSE", "Copyright (c) 2022 Leon Sorokin\n");
        put("@a+b@1.0.0", "about", "@a/b\n1.0.0\nApache-2.0\n\n");
        put("@a+b@1.0.0", "license", "words\n");
        let works = of(&place).unwrap();
        let names: Vec<&str> = works.iter().map(|work| work.name.as_str()).collect();
        assert_eq!(names, ["a/b", "uplot"]);
        assert!(
            super::super::list(&works).contains("Files: npm/uplot-1.6.32/*\nCopyright: 2022 Leon Sorokin\n")
        );
        put("c@1.0.0", "about", "c\n1.0.0\nMIT\n\n");
        let refused = of(&place);
        fs::remove_dir_all(&place).unwrap();
        assert!(refused.is_err_and(|Failed(why)| why.contains("c 1.0.0")));
        assert!(of(&place).is_err(), "nothing is there");
    }
}
