// SPDX-License-Identifier: Apache-2.0
//! The rules by which a tree becomes entries.

use std::str::FromStr;

use crate::time::Time;

/// What the command line and the environment say about entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// The time of everything.
    pub(crate) mtime: Option<Time>,
    /// Later times become this one.
    pub(crate) latest: Option<Time>,
    /// The owner of everything.
    pub(crate) owner: Option<Owner>,
    /// Leave out the entry of the tree's root.
    pub(crate) no_root: bool,
    /// Do not enter other file systems.
    pub(crate) one_file_system: bool,
    /// Take files named as whiteouts for what they are.
    pub(crate) keep_whiteouts: bool,
}

impl Rules {
    /// The time that an entry gets, of the file's own in seconds.
    pub(crate) fn time(&self, own: i64) -> i64 {
        match (self.mtime, self.latest) {
            (Some(Time(all)), _) => all,
            (None, Some(Time(latest))) => own.min(latest),
            (None, None) => own,
        }
    }

    /// The owner that an entry gets.
    pub(crate) fn owner(&self, uid: u32, gid: u32) -> (u32, u32) {
        self.owner.map_or((uid, gid), |owner| (owner.uid, owner.gid))
    }
}

/// A user and a group, by number: names mean something else on another machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    uid: u32,
    gid: u32,
}

impl FromStr for Owner {
    type Err = String;

    fn from_str(text: &str) -> Result<Owner, String> {
        let number = |digits: &str| {
            // The last one means "nobody" to the system calls.
            let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            digits.parse().ok().filter(|id| is_number && *id != u32::MAX)
        };
        text.split_once(':')
            .and_then(|(uid, gid)| Some(Owner { uid: number(uid)?, gid: number(gid)? }))
            .ok_or_else(|| format!("two numbers are wanted, UID:GID, each below {}", u32::MAX))
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
