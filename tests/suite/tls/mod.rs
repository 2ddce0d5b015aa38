// SPDX-License-Identifier: Apache-2.0
//! Who is trusted, who is shown a certificate, and what fails.

mod trust;

#[path = "."]
mod with_peers {
    mod certs_d;
    mod client;
    mod faults;
}
