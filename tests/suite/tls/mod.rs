// SPDX-License-Identifier: Apache-2.0
//! TLS: trusted authorities, client certificates, and failures.

mod trust;

#[path = "."]
mod with_peers {
    mod algorithms;
    mod certs_d;
    mod client;
    mod faults;
}
