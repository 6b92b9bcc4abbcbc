//! Puts the built pages into the program. Without them there is no program: a gateway that answers
//! with an empty page would be worse than one that says what is missing.

use std::fmt::Write as _;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

fn main() {
    if let Err(why) = write_pages() {
        // It ends the build, in one line.
        tell(&format!("cargo::error={why}"));
    }
}

/// Cargo is spoken to on stdout.
#[expect(clippy::print_stdout, reason = "it is how a build script speaks to cargo")]
fn tell(line: &str) {
    println!("{line}");
}

fn write_pages() -> Result<(), String> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/web");
    tell(&format!("cargo::rerun-if-changed={}", built.display()));
    let index = fs::read_to_string(built.join("index.html")).unwrap_or_default();
    if !index.contains("<script type=\"module\"") {
        return Err("the pages of pgw-ui are not built; run `cargo xtask web` once".into());
    }
    let mut pages = Vec::new();
    collect(&built, &built, &mut pages)
        .map_err(|error| format!("target/web cannot be read: {error}; run `cargo xtask web`"))?;
    pages.sort();
    let mut code = String::from("&[\n");
    for (path, file) in &pages {
        let kind = content_type(path).ok_or_else(|| format!("target/web{path}: of which type is it?"))?;
        let content = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let packed = file.with_file_name(format!("{}.gz", name(file)));
        let packed = packed.canonicalize().map_err(|error| format!("{}: {error}", packed.display()))?;
        let mut hash = DefaultHasher::new();
        content.hash(&mut hash);
        let _ = writeln!(
            code,
            "    Page {{ path: {path:?}, content_type: {kind:?}, etag: \"\\\"{:016x}\\\"\", plain: include_bytes!({:?}), \
             gzip: include_bytes!({packed:?}) }},",
            hash.finish(),
            file
        );
    }
    code.push(']');
    let out = std::env::var_os("OUT_DIR").ok_or("cargo gives no OUT_DIR")?;
    fs::write(PathBuf::from(out).join("pages.rs"), code).map_err(|error| format!("pages.rs: {error}"))
}

/// What begins with a dot is the bundler's own; `.gz` goes along with what it was made of.
fn collect(root: &Path, folder: &Path, pages: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path().canonicalize()?;
        let name = name(&path);
        if name.starts_with('.') || name.ends_with(".gz") {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, pages)?;
        } else if let Ok(inside) = path.strip_prefix(root.canonicalize()?) {
            pages.push((format!("/{}", inside.display()), path));
        }
    }
    Ok(())
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn content_type(path: &str) -> Option<&'static str> {
    let (_, ending) = path.rsplit_once('.')?;
    Some(match ending {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => return None,
    })
}
