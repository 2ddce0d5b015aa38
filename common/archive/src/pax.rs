// SPDX-License-Identifier: Apache-2.0
//! The meaning of the records in an extended header (POSIX.1-2001 pax), which describe the entry
//! that follows.
//!
//! If a keyword is repeated, its last value is used, as in all readers. Records that readers are
//! known to interpret differently are refused: an empty path, link path or size, a NUL in one of
//! these, an incomplete set of sparse keywords, numbers with signs. Unknown keywords are ignored,
//! as POSIX requires.

use common::error::{Error, Result, printable};

use crate::number::{self, Time};
use crate::records::split_first;
use crate::sparse;

/// Where the map of a sparse file is stored.
#[derive(Debug)]
pub(crate) enum SparseForm {
    /// In the header itself (forms 0.0 and 0.1).
    Header(sparse::Map),
    /// Before the file's data (form 1.0).
    Data,
}

/// The description of a sparse file in an extended header.
#[derive(Debug)]
pub(crate) struct Sparse {
    pub(crate) form: SparseForm,
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) size: u64,
}

/// The content of an extended header.
#[derive(Debug, Default)]
pub(crate) struct Extended {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u64>,
    pub(crate) gid: Option<u64>,
    pub(crate) mtime: Option<Time>,
    pub(crate) atime: Option<Time>,
    pub(crate) sparse: Option<Sparse>,
    /// Names and values of extended attributes, each name once.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether there are attributes in a form that this crate does not read (`SCHILY.acl.*`,
    /// `LIBARCHIVE.xattr.*`).
    pub(crate) foreign_attributes: bool,
    /// Whether there is any record other than comments.
    pub(crate) has_records: bool,
}

/// The values of the sparse keywords that were read.
#[derive(Default)]
struct SparseKeys {
    any: bool,
    major: Option<Vec<u8>>,
    minor: Option<Vec<u8>>,
    name: Option<Vec<u8>>,
    size: Option<u64>,
    real_size: Option<u64>,
    blocks: Option<u64>,
    map: Option<Vec<u8>>,
    /// The offsets and lengths of form 0.0, where each has its own record.
    numbers: Vec<u64>,
}

impl Extended {
    /// Reads the records of an extended header.
    pub(crate) fn parse(mut records: &[u8]) -> Result<Extended> {
        let mut extended = Extended::default();
        let mut keys = SparseKeys::default();
        while !records.is_empty() {
            let (keyword, value, rest) =
                split_first(records).ok_or_else(|| malformed("not a sequence of records"))?;
            extended.take(keyword, value, &mut keys)?;
            records = rest;
        }
        if keys.any {
            extended.sparse = Some(keys.finish()?);
        }
        extended.settle_xattrs();
        Ok(extended)
    }

    fn take(&mut self, keyword: &[u8], value: &[u8], keys: &mut SparseKeys) -> Result<()> {
        let wrong = || {
            malformed(format_args!(
                "{}: wrong value \"{}\"",
                printable(&String::from_utf8_lossy(keyword)),
                printable(&String::from_utf8_lossy(value))
            ))
        };
        let text = || match value {
            [] => Err(wrong()),
            _ if value.contains(&0) => Err(wrong()),
            _ => Ok(Some(value.to_owned())),
        };
        self.has_records |= keyword != b"comment";
        match keyword {
            b"path" => self.path = text()?,
            b"linkpath" => self.link = text()?,
            b"size" => self.size = Some(number::decimal(value).ok_or_else(wrong)?),
            b"uname" | b"gname" if value.contains(&0) => return Err(wrong()),
            // An empty value cancels the earlier records of this keyword.
            b"uid" | b"gid" | b"mtime" | b"atime" | b"ctime" if value.is_empty() => match keyword {
                b"uid" => self.uid = None,
                b"gid" => self.gid = None,
                b"mtime" => self.mtime = None,
                _ => self.atime = None,
            },
            b"uid" => self.uid = Some(number::decimal(value).ok_or_else(wrong)?),
            b"gid" => self.gid = Some(number::decimal(value).ok_or_else(wrong)?),
            b"mtime" => self.mtime = Some(number::time(value).ok_or_else(wrong)?),
            b"atime" => self.atime = Some(number::time(value).ok_or_else(wrong)?),
            b"ctime" => drop(number::time(value).ok_or_else(wrong)?),
            // Keywords that only some readers support: sparse forms, archives of several volumes,
            // and device numbers that would replace those of the header.
            b"SCHILY.realsize" | b"SUN.holesdata" | b"GNU.dumpdir" | b"SCHILY.devmajor"
            | b"SCHILY.devminor" | b"SUN.devmajor" | b"SUN.devminor" => {
                return Err(unsupported(keyword));
            }
            _ if keyword.starts_with(b"GNU.volume.") => return Err(unsupported(keyword)),
            _ => {
                if let Some(sparse) = keyword.strip_prefix(b"GNU.sparse.") {
                    keys.take(sparse, value)?;
                } else if let Some(name) = keyword.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.push((name.to_owned(), value.to_owned()));
                } else if keyword.starts_with(b"SCHILY.acl.")
                    || keyword.starts_with(b"LIBARCHIVE.xattr.")
                {
                    self.foreign_attributes = true;
                }
            }
        }
        Ok(())
    }

    /// Sorts the attributes by name and keeps only the last value of each name.
    fn settle_xattrs(&mut self) {
        self.xattrs.reverse();
        self.xattrs.sort_by(|a, b| a.0.cmp(&b.0));
        self.xattrs.dedup_by(|later, first| later.0 == first.0);
    }
}

impl SparseKeys {
    fn take(&mut self, keyword: &[u8], value: &[u8]) -> Result<()> {
        self.any = true;
        let wrong = || {
            let keyword = String::from_utf8_lossy(keyword);
            malformed(format_args!("GNU.sparse.{keyword}: wrong value"))
        };
        let decimal = || number::decimal(value).ok_or_else(wrong);
        match keyword {
            b"major" => self.major = Some(value.to_owned()),
            b"minor" => self.minor = Some(value.to_owned()),
            b"name" if value.is_empty() || value.contains(&0) => return Err(wrong()),
            b"name" => self.name = Some(value.to_owned()),
            b"size" => self.size = Some(decimal()?),
            b"realsize" => self.real_size = Some(decimal()?),
            b"numblocks" => self.blocks = Some(decimal()?),
            b"map" => self.map = Some(value.to_owned()),
            b"offset" | b"numbytes" => {
                if self.numbers.len() == 2 * sparse::MAX_SEGMENTS {
                    return Err(malformed(format_args!(
                        "sparse map: more than {} segments",
                        sparse::MAX_SEGMENTS
                    )));
                }
                if self.numbers.len().is_multiple_of(2) != (keyword == b"offset") {
                    return Err(malformed("sparse map: offsets and lengths do not alternate"));
                }
                self.numbers.push(decimal()?);
            }
            _ => return Err(malformed("unknown sparse keyword")),
        }
        Ok(())
    }

    /// Determines which of the three forms the keywords have. A set that is incomplete for every
    /// form is refused, because readers interpret it differently.
    fn finish(self) -> Result<Sparse> {
        let incomplete = || malformed("incomplete set of sparse keywords");
        let size = self.real_size.or(self.size).ok_or_else(incomplete)?;
        if self.real_size.is_some() && self.size.is_some_and(|other| other != size) {
            return Err(malformed("GNU.sparse.size and GNU.sparse.realsize differ"));
        }
        let form = match (self.major.as_deref(), self.minor.as_deref()) {
            (Some(b"1"), Some(b"0")) if self.map.is_none() && self.numbers.is_empty() => {
                self.name.as_ref().ok_or_else(incomplete)?;
                SparseForm::Data
            }
            (None, None) | (Some(b"0"), Some(b"0" | b"1")) => {
                let blocks = self.blocks.ok_or_else(incomplete)?;
                let map = match (self.map, self.numbers.as_slice()) {
                    (Some(list), []) => sparse::from_list(&list, blocks)?,
                    (None, numbers @ [_, ..])
                        if numbers.len() as u64 == blocks.saturating_mul(2) =>
                    {
                        let mut map = sparse::Map::default();
                        for pair in numbers.chunks_exact(2) {
                            map.push(pair[0], pair[1])?;
                        }
                        map
                    }
                    _ => return Err(incomplete()),
                };
                SparseForm::Header(map)
            }
            _ => return Err(incomplete()),
        };
        Ok(Sparse { form, name: self.name, size })
    }
}

fn malformed(what: impl std::fmt::Display) -> Error {
    Error::malformed(format_args!("extended header: {what}"))
}

fn unsupported(keyword: &[u8]) -> Error {
    let keyword = printable(&String::from_utf8_lossy(keyword));
    malformed(format_args!("{keyword}: tar programs interpret this keyword differently"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rec(keyword: &str, value: &str) -> Vec<u8> {
        let rest = format!(" {keyword}={value}\n");
        let mut length = rest.len() + 1;
        while format!("{length}{rest}").len() != length {
            length += 1;
        }
        format!("{length}{rest}").into_bytes()
    }

    fn parse(records: &[(&str, &str)]) -> Result<Extended> {
        let all: Vec<u8> = records.iter().flat_map(|(k, v)| rec(k, v)).collect();
        Extended::parse(&all)
    }

    #[test]
    fn the_last_value_of_a_keyword_is_used() {
        let extended =
            parse(&[("path", "a"), ("path", "b"), ("SCHILY.xattr.user.x", "1")]).unwrap();
        assert_eq!(extended.path.as_deref(), Some(&b"b"[..]));
        let extended =
            parse(&[("SCHILY.xattr.user.x", "1"), ("SCHILY.xattr.user.x", "2")]).unwrap();
        assert_eq!(extended.xattrs, [(b"user.x".to_vec(), b"2".to_vec())]);
    }

    #[test]
    fn values_are_exact() {
        let extended = parse(&[("SCHILY.xattr.user.a=b", "")]).unwrap();
        // The first = ends the keyword, as in Go.
        assert_eq!(extended.xattrs, [(b"user.a".to_vec(), b"b=".to_vec())]);
        let extended = parse(&[("SCHILY.xattr.user.n", "a\0b\n=")]).unwrap();
        assert_eq!(extended.xattrs[0].1, b"a\0b\n=");
        assert!(parse(&[("SCHILY.xattr.user.empty", "")]).unwrap().xattrs[0].1.is_empty());
    }

    #[test]
    fn broken_records_are_refused() {
        for wrong in [
            &b"5 a=b\n"[..], // wrong length
            b"6 a=b.",       // no newline
            b"6 abc\n",      // no =
            b"0 a=b\n",      // no length
            b"99 a=b\n",     // a length beyond the end
            b"+6 a=b\n",     // a length with a sign
            b"6 a=b\n\0",    // a NUL after the record
            b"5 =b\n",       // no keyword
            b"18446744073709551615 a=b\n",
        ] {
            assert!(Extended::parse(wrong).is_err(), "{:?}", String::from_utf8_lossy(wrong));
        }
        assert!(Extended::parse(b"6 a=b\n").is_ok());
        assert!(Extended::parse(b"").is_ok());
    }

    #[test]
    fn records_that_readers_read_differently_are_refused() {
        for (keyword, value) in [
            ("path", ""),
            ("linkpath", ""),
            ("size", ""),
            ("path", "a\0b"),
            ("uname", "a\0"),
            ("size", "+1"),
            ("size", "-1"),
            ("size", "0x1"),
            ("size", "99999999999999999999"),
            ("uid", "-1"),
            ("mtime", "nan"),
            ("GNU.sparse.realsize", "5"),
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.offset", "1"),
        ] {
            assert!(parse(&[(keyword, value)]).is_err(), "{keyword}={value:?}");
        }
    }

    #[test]
    fn the_three_sparse_forms() {
        let zero = [
            ("GNU.sparse.size", "100"),
            ("GNU.sparse.numblocks", "2"),
            ("GNU.sparse.offset", "0"),
            ("GNU.sparse.numbytes", "10"),
            ("GNU.sparse.offset", "100"),
            ("GNU.sparse.numbytes", "0"),
        ];
        assert!(matches!(parse(&zero).unwrap().sparse.unwrap().form, SparseForm::Header(_)));
        assert!(parse(&zero[..5]).is_err());
        let one = [
            ("GNU.sparse.size", "100"),
            ("GNU.sparse.numblocks", "1"),
            ("GNU.sparse.map", "0,10"),
            ("GNU.sparse.name", "f"),
        ];
        assert_eq!(parse(&one).unwrap().sparse.unwrap().name.as_deref(), Some(&b"f"[..]));
        let data = [
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.name", "f"),
            ("GNU.sparse.realsize", "100"),
        ];
        let sparse = parse(&data).unwrap().sparse.unwrap();
        assert!(matches!(sparse.form, SparseForm::Data) && sparse.size == 100);
        assert!(parse(&data[..3]).is_err());
    }
}
