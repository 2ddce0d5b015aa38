// SPDX-License-Identifier: Apache-2.0
//! Real packages and a real system as layers. All tests here need root and a Debian mirror.

#[path = "."]
mod as_root {
    mod debian;
    mod packages;
    mod round_trip;
    mod stacks;
}
