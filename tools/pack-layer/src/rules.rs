// SPDX-License-Identifier: Apache-2.0
//! The rules that turn files into entries.

use std::str::FromStr;

use crate::time::Time;

/// The options and environment variables that change entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// The time of every entry.
    pub(crate) mtime: Option<Time>,
    /// The latest time of any entry: later times are replaced by it.
    pub(crate) latest: Option<Time>,
    /// The owner of every entry.
    pub(crate) owner: Option<Owner>,
    /// Leave out the entry of the tree's root.
    pub(crate) no_root: bool,
    /// Do not enter other file systems.
    pub(crate) one_file_system: bool,
    /// Pack files whose names begin with `.wh.`, as whiteouts.
    pub(crate) keep_whiteouts: bool,
}

impl Rules {
    /// The time of an entry, for a file with the time `own`; both in seconds since the epoch.
    pub(crate) fn time(&self, own: i64) -> i64 {
        match (self.mtime, self.latest) {
            (Some(Time(all)), _) => all,
            (None, Some(Time(latest))) => own.min(latest),
            (None, None) => own,
        }
    }

    /// The user and the group of an entry.
    pub(crate) fn owner(&self, uid: u32, gid: u32) -> (u32, u32) {
        self.owner.map_or((uid, gid), |owner| (owner.uid, owner.gid))
    }
}

/// A user and a group. They are numbers, since a name may have another number on another machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    uid: u32,
    gid: u32,
}

impl FromStr for Owner {
    type Err = String;

    fn from_str(text: &str) -> Result<Owner, String> {
        let number = |digits: &str| {
            // For chown(2), the largest number means "do not change the owner".
            let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            digits.parse().ok().filter(|id| is_number && *id != u32::MAX)
        };
        text.split_once(':')
            .and_then(|(uid, gid)| Some(Owner { uid: number(uid)?, gid: number(gid)? }))
            .ok_or_else(|| format!("expected UID:GID, two numbers below {}", u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_two_numbers() {
        assert_eq!("0:4294967294".parse(), Ok(Owner { uid: 0, gid: u32::MAX - 1 }));
        for wrong in ["", "0", "0:", ":0", "root:root", "0:4294967295", "+1:1", "-1:1", "1:2:3"] {
            assert!(wrong.parse::<Owner>().is_err(), "{wrong}");
        }
    }
}
