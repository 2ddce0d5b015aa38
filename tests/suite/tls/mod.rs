// SPDX-License-Identifier: Apache-2.0
//! Who is trusted, who is shown a certificate, and what fails.

mod certs_d;
mod client;
mod faults;
mod trust;
