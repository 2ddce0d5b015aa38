// SPDX-License-Identifier: Apache-2.0
//! The owner of files: the user and group ID of the entry, mapped if ranges are given, or those of
//! the user who runs the tool.
//!
//! Names of users and groups are not used.

use common::error::{Error, Result};

/// A range of user or group IDs: `CONTAINER:HOST:COUNT`, as in user namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdRange {
    container: u64,
    host: u64,
    count: u64,
}

impl std::str::FromStr for IdRange {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<IdRange, String> {
        let wrong = || "expected CONTAINER:HOST:COUNT, three numbers".to_owned();
        let number = |part: &str| {
            if part.bytes().all(|b| b.is_ascii_digit()) {
                part.parse::<u32>().map(u64::from).map_err(|_| wrong())
            } else {
                Err(wrong())
            }
        };
        let parts: Vec<&str> = text.split(':').collect();
        let [container, host, count] = parts[..] else { return Err(wrong()) };
        let range =
            IdRange { container: number(container)?, host: number(host)?, count: number(count)? };
        let limit = u64::from(u32::MAX);
        if range.count == 0
            || range.container + range.count > limit
            || range.host + range.count > limit
        {
            return Err("the range is empty, or has IDs above 2^32-2".to_owned());
        }
        Ok(range)
    }
}

/// The rules for the owner of files.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    /// Whether files get the owner of their entry. If false, they get `caller`.
    pub(crate) same: bool,
    /// The mapping of user IDs. Empty means that they are not changed.
    pub(crate) users: Vec<IdRange>,
    /// The mapping of group IDs. Empty means that they are not changed.
    pub(crate) groups: Vec<IdRange>,
    /// The user and group ID of the user who runs the tool.
    pub(crate) caller: (u32, u32),
}

impl Owner {
    /// The owner and group of a file whose entry has these IDs.
    pub(super) fn of(&self, uid: u64, gid: u64) -> Result<(u32, u32)> {
        let ids = (in_range("user", uid)?, in_range("group", gid)?);
        if !self.same {
            return Ok(self.caller);
        }
        Ok((map("user", &self.users, ids.0)?, map("group", &self.groups, ids.1)?))
    }

    /// The owner and group of a directory without an entry.
    pub(super) fn implied(&self) -> Result<(u32, u32)> {
        self.of(0, 0)
    }
}

/// Checks that an ID is below 2^32-1. That number means "do not change" in chown(2), and larger
/// ones would be truncated.
fn in_range(what: &str, id: u64) -> Result<u32> {
    match u32::try_from(id) {
        Ok(id) if id != u32::MAX => Ok(id),
        _ => Err(Error::malformed(format_args!("{what} ID {id} is above 2^32-2"))),
    }
}

fn map(what: &str, ranges: &[IdRange], id: u32) -> Result<u32> {
    if ranges.is_empty() {
        return Ok(id);
    }
    let id = u64::from(id);
    let range = ranges.iter().find(|r| (r.container..r.container + r.count).contains(&id));
    range
        .and_then(|range| u32::try_from(range.host + (id - range.container)).ok())
        .ok_or_else(|| Error::malformed(format_args!("{what} ID {id} is in no mapped range")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> std::result::Result<IdRange, String> {
        text.parse()
    }

    #[test]
    fn ranges_are_three_numbers_in_bounds() {
        assert!(range("0:100000:65536").is_ok());
        assert!(range("0:0:4294967295").is_ok());
        for wrong in ["", "0:1", "0:1:2:3", "a:1:2", "-1:0:1", "+1:0:1", "0:0:0", "1:0:4294967295"]
        {
            assert!(range(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn identities_are_mapped_or_refused() {
        let users = vec![range("0:1000:1").unwrap(), range("1:100000:10").unwrap()];
        let owner = Owner { same: true, users, groups: vec![], caller: (7, 7) };
        assert_eq!(owner.of(0, 5).unwrap(), (1000, 5));
        assert_eq!(owner.of(10, 5).unwrap(), (100_009, 5));
        assert!(owner.of(11, 5).is_err());
        assert_eq!(owner.implied().unwrap(), (1000, 0));
        assert!(owner.of(u64::from(u32::MAX), 0).is_err());
        assert!(owner.of(0, 1 << 32).is_err());
        let caller = Owner { same: false, ..owner };
        assert_eq!(caller.of(11, 5).unwrap(), (7, 7));
    }
}
