// SPDX-License-Identifier: Apache-2.0
//! `--check`: verifies the files of lists, like `sha256sum -c`.
//!
//! A failure does not end the run: all files are checked. The error message has the number of
//! failures and the first of them. An invalid line of a list is a failure too, since its file was
//! not checked.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};

use common::digest::Algorithm;
use common::error::{Error, Result, Status};
use common::lines::NO_INPUT;
use common::parallel::{self, processors};
use common::stdio;

use crate::files::verify_file;
use crate::input::{STDIN, open};
use crate::list::{self, Entry};

/// The longest line of a list, in bytes: far beyond the longest path.
const MAX_LINE: u64 = 64 << 10;

/// The options for the report about the files of a list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    /// Whether missing files are skipped.
    pub(crate) ignore_missing: bool,
    /// Whether the results are printed on standard output.
    pub(crate) verdicts: bool,
    /// Whether the results of matching files are printed too.
    pub(crate) successes: bool,
}

/// Verifies the files of lists; without a list, the files of the list on standard input.
/// `algorithm` is the algorithm of digests that are only hexadecimal digits.
///
/// # Errors
/// The error of the first file or line that failed, with the number of failures. Absent if no file
/// was verified, because all files are missing and skipped.
pub(crate) fn lists(
    lists: Vec<OsString>,
    algorithm: Option<Algorithm>,
    report: Report,
) -> Result<()> {
    let mut output = stdio::stdout()?;
    let work = |entry: Result<Entry>| match entry {
        Ok(entry) => (list::shown(&entry.file), verify_file(&entry.file, &entry.digest, None)),
        // The failure of a line or of a list: there is no file name to print.
        Err(error) => (Vec::new(), Err(error)),
    };
    let mut passed = 0_u64;
    let mut failed = 0_u64;
    let mut first = None;
    let take = |(name, verdict): (Vec<u8>, Result<()>)| {
        let verdict_words: &[u8] = match &verdict {
            Ok(()) if !report.successes => b"",
            Ok(()) => b": OK\n",
            Err(_) if name.is_empty() => b"",
            Err(error) if error.status() == Status::Absent && report.ignore_missing => {
                return Ok(());
            }
            Err(error) if error.status() == Status::Content => b": FAILED\n",
            Err(_) => b": FAILED open or read\n",
        };
        if report.verdicts && !verdict_words.is_empty() {
            let line = [name.as_slice(), verdict_words].concat();
            output.write_all(&line).map_err(|cause| Error::local("standard output", &cause))?;
        }
        match verdict {
            Ok(()) => passed += 1,
            Err(error) => {
                failed += 1;
                first.get_or_insert(error);
            }
        }
        Ok(())
    };
    parallel::in_order(processors(), move || entries(lists, algorithm), work, take)?;
    match first {
        Some(error) if passed + failed > 1 => {
            Err(error.context(format_args!("{failed} of {} failed", passed + failed)))
        }
        Some(error) => Err(error),
        None if passed == 0 => Err(Error::absent("none of the files exists")),
        None => Ok(()),
    }
}

/// The entries of all lists, one list after the other.
fn entries(
    lists: Vec<OsString>,
    algorithm: Option<Algorithm>,
) -> impl Iterator<Item = Result<Entry>> {
    let lists = if lists.is_empty() { vec!["-".into()] } else { lists };
    lists.into_iter().flat_map(move |list| match input(&list) {
        Ok((input, name)) => {
            Box::new(Entries { input, name, algorithm, number: 0, has_lines: false, done: false })
                as Box<dyn Iterator<Item = Result<Entry>>>
        }
        Err(error) => Box::new(std::iter::once(Err(error))),
    })
}

/// Opens a list. Returns it with its name in messages.
fn input(list: &OsStr) -> Result<(Box<dyn BufRead>, String)> {
    if list == "-" {
        return Ok((Box::new(stdio::stdin()?), STDIN.to_owned()));
    }
    let file: File = open(list)?;
    Ok((Box::new(BufReader::new(file)), list.display().to_string()))
}

/// An iterator that reads the entries of one list.
struct Entries {
    input: Box<dyn BufRead>,
    name: String,
    algorithm: Option<Algorithm>,
    number: u64,
    has_lines: bool,
    done: bool,
}

impl Entries {
    /// The next entry of the list. An error of the input ends the list. After an invalid line the
    /// list continues, unless the line is too long.
    fn read(&mut self) -> Option<Result<Entry>> {
        let mut line = Vec::new();
        while !self.done {
            line.clear();
            let limited = &mut self.input;
            let read = limited.take(MAX_LINE + 1).read_until(b'\n', &mut line);
            self.number += 1;
            let wrong = |why: &str| {
                Some(Err(Error::malformed(format_args!(
                    "{}: line {}: {why}",
                    self.name, self.number
                ))))
            };
            match read {
                Err(cause) => {
                    self.done = true;
                    return Some(Err(Error::local(format_args!("read {}", self.name), &cause)));
                }
                Ok(0) => {
                    self.done = true;
                    let nothing = match self.number {
                        1 => NO_INPUT,
                        _ => "no line with a digest and a file",
                    };
                    let error = Error::malformed(format_args!("{}: {nothing}", self.name));
                    return (!self.has_lines).then_some(Err(error));
                }
                Ok(n) if n as u64 > MAX_LINE => {
                    self.done = true;
                    return wrong(&format!("longer than {MAX_LINE} bytes"));
                }
                Ok(_) => {}
            }
            match list::parse(line.strip_suffix(b"\n").unwrap_or(&line), self.algorithm) {
                Ok(None) => {}
                Ok(Some(entry)) if entry.file == "-" => {
                    self.has_lines = true;
                    return wrong("standard input cannot be checked from a list");
                }
                Ok(Some(entry)) => {
                    self.has_lines = true;
                    return Some(Ok(entry));
                }
                Err(why) => {
                    self.has_lines = true;
                    return wrong(&why);
                }
            }
        }
        None
    }
}

impl Iterator for Entries {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Result<Entry>> {
        self.read()
    }
}
