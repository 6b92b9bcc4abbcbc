//! The file: lines of JSON. The first says what it is, with the key of the secrets; then come
//! tables and their rows; the last has the sum of all before it, so that half a file is none.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use pgw_core::redact::Secret;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::store::dump::{Cell, DumpError, Part, Sink, Source};

const FORMAT: u32 = 1;
/// No row of ours comes near it.
const LONGEST_LINE: u64 = 64 * 1024 * 1024;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    pgw_backup: u32,
    version: String,
    pub made_at: jiff::Timestamp,
    /// The number of the last migration.
    pub tables: i64,
    /// Whose clients there are.
    pub gateways: Vec<String>,
    /// In hexadecimal digits.
    #[serde(serialize_with = "Secret::write_out")]
    pub key: Secret,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Table { table: String, columns: Vec<String> },
    Row(Vec<Cell>),
    End { rows: u64, sha256: String },
}

/// Writes beside the file, which is there once all of it is.
pub struct Writer {
    out: BufWriter<File>,
    path: PathBuf,
    part: PathBuf,
    key: Secret,
    sum: Sha256,
    rows: u64,
}

impl Writer {
    /// A file that is there already is somebody's backup.
    pub fn create(path: &Path, key: Secret) -> io::Result<Self> {
        if path.exists() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        // Of one that was interrupted.
        pgw_core::files::remove(&part)?;
        let file = File::options().write(true).create_new(true).mode(0o600).open(&part)?;
        let (path, sum) = (path.to_owned(), Sha256::new());
        Ok(Self { out: BufWriter::new(file), path, part, key, sum, rows: 0 })
    }

    fn line(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.sum.update(&text);
        self.out.write_all(&text)
    }

    /// Answers how many rows there are.
    pub fn finish(mut self) -> io::Result<u64> {
        let end = Line::End { rows: self.rows, sha256: hex(&self.sum.clone().finalize()) };
        self.line(&end)?;
        self.out.flush()?;
        self.out.get_ref().sync_all()?;
        // Unlike a rename it makes nothing over.
        std::fs::hard_link(&self.part, &self.path)?;
        pgw_core::files::remove(&self.part)?;
        Ok(self.rows)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Gone already if it was finished.
        let _left = pgw_core::files::remove(&self.part);
    }
}

impl Sink for Writer {
    fn begin(&mut self, tables: i64, gateways: &[String]) -> io::Result<()> {
        let head = Head {
            pgw_backup: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            made_at: jiff::Timestamp::now(),
            tables,
            gateways: gateways.to_vec(),
            key: self.key.clone(),
        };
        self.line(&head)
    }

    fn table(&mut self, name: &str, columns: &[String]) -> io::Result<()> {
        self.line(&Line::Table { table: name.to_owned(), columns: columns.to_vec() })
    }

    fn row(&mut self, cells: &[Cell]) -> io::Result<()> {
        self.rows += 1;
        self.line(&Line::Row(cells.to_vec()))
    }
}

/// Reads a file that was looked through before: its sum is right, and so is each of its lines.
pub struct Reader {
    lines: Lines,
}

impl Reader {
    pub fn open(path: &Path) -> Result<(Head, Self), DumpError> {
        let mut checked = Lines::open(path)?;
        let head = checked.head()?;
        let mut rows = 0;
        loop {
            let sum = hex(&checked.sum.clone().finalize());
            match checked.next()?.ok_or_else(|| damaged("its end is missing"))? {
                Line::Table { .. } => {}
                Line::Row(_) => rows += 1,
                Line::End { rows: want, sha256 } if (want, &sha256) == (rows, &sum) => break,
                Line::End { .. } => return Err(damaged("it was changed since it was written")),
            }
        }
        if checked.next()?.is_some() {
            return Err(damaged("it goes on behind its end"));
        }
        let mut lines = Lines::open(path)?;
        lines.head()?;
        Ok((head, Self { lines }))
    }
}

impl Source for Reader {
    fn next(&mut self) -> Result<Option<Part>, DumpError> {
        Ok(match self.lines.next()? {
            Some(Line::Table { table, columns }) => Some(Part::Table { name: table, columns }),
            Some(Line::Row(cells)) => Some(Part::Row(cells)),
            Some(Line::End { .. }) | None => None,
        })
    }
}

struct Lines {
    file: BufReader<File>,
    sum: Sha256,
    text: Vec<u8>,
    number: u64,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, DumpError> {
        let file = File::open(path).map_err(|error| damaged(&error.to_string()))?;
        Ok(Self { file: BufReader::new(file), sum: Sha256::new(), text: Vec::new(), number: 0 })
    }

    fn head(&mut self) -> Result<Head, DumpError> {
        if !self.read()? {
            return Err(damaged("it is empty"));
        }
        match serde_json::from_slice::<Head>(&self.text) {
            Ok(head) if head.pgw_backup == FORMAT => Ok(head),
            Ok(Head { version, .. }) => {
                Err(damaged(&format!("pgw {version} wrote it in a format of its own")))
            }
            Err(_other) => Err(damaged("it is no backup of pgw")),
        }
    }

    fn next(&mut self) -> Result<Option<Line>, DumpError> {
        if !self.read()? {
            return Ok(None);
        }
        // What serde says may quote a secret.
        serde_json::from_slice(&self.text).map(Some).map_err(|_why| damaged(&format!("line {}", self.number)))
    }

    fn read(&mut self) -> Result<bool, DumpError> {
        self.text.clear();
        self.number += 1;
        let mut limited = (&mut self.file).take(LONGEST_LINE);
        limited.read_until(b'\n', &mut self.text).map_err(|error| damaged(&error.to_string()))?;
        if self.text.is_empty() {
            return Ok(false);
        }
        if self.text.last() != Some(&b'\n') {
            return Err(damaged(&format!("line {} has no end", self.number)));
        }
        self.sum.update(&self.text);
        Ok(true)
    }
}

fn damaged(why: &str) -> DumpError {
    DumpError::Damaged(why.to_owned())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
