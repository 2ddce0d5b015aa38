// SPDX-License-Identifier: Apache-2.0
//! What this computer was told of registries, by its user and by its administrator.
//!
//! | module | reads |
//! |---|---|
//! | [`credentials`] | auth files of docker and the containers tools, and credential helpers |
//! | [`certs_d`] | which certificates `certs.d` has for a host |
//! | [`mirrors`] | registries.conf, hosts.toml, and the values of `--mirror` |
//!
//! Files are read and helpers are run; nothing is sent to a registry and nothing is written. Which
//! host a credential goes to is not decided here: that is the `registry` crate's `auth`. Start
//! reading at [`credentials`].

pub mod certs_d;
pub mod credentials;
pub mod mirrors;
