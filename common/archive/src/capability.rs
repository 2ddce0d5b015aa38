// SPDX-License-Identifier: Apache-2.0
//! Revision 3 of file capabilities, which are the value of the extended attribute
//! `security.capability`. Such capabilities are valid in one user namespace only. The format is
//! `struct vfs_ns_cap_data` of `linux/capability.h`; all numbers are little-endian.
//!
//! The kernel writes revision 3 when a file gets capabilities inside a user namespace. It adds the
//! user ID of that namespace's root. The ID has no meaning on another machine. There, the kernel
//! ignores the capabilities.

/// The name of the attribute.
pub const CAPABILITY: &[u8] = b"security.capability";

/// The sizes of a value of revision 2 and of revision 3, in bytes. Revision 3 has the root ID as
/// its last four bytes.
const SIZES: (usize, usize) = (20, 24);

/// The position of the byte that holds the revision.
const REVISION: usize = 3;

/// Whether a value of [`CAPABILITY`] is of revision 3 and therefore has the root ID of a user
/// namespace.
pub fn has_root_id(value: &[u8]) -> bool {
    value.len() == SIZES.1 && value.get(REVISION) == Some(&3)
}

/// Converts a value of revision 3 to revision 2: the same capabilities without the root ID. Docker
/// does the same when it makes a layer. Any other value is left unchanged.
pub fn drop_root_id(value: &mut Vec<u8>) {
    if has_root_id(value) {
        value.truncate(SIZES.0);
        value[REVISION] = 2;
    }
}
