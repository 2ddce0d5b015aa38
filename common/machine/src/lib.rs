// SPDX-License-Identifier: Apache-2.0
//! The registry configuration of this computer, written by the user and by the administrator.
//!
//! | module | reads |
//! |---|---|
//! | [`credentials`] | auth files of docker, podman, skopeo and buildah; credential helpers |
//! | [`certs_d`] | the certificates that `certs.d` has for a host |
//! | [`allowed`] | the hosts that are allowed in URLs from a registry in spite of the rules |
//! | [`mirrors`] | registries.conf, hosts.toml, and the values of `--mirror` |
//!
//! This crate reads files and runs credential helpers. It sends nothing to a registry and writes
//! nothing. Not here: the choice of the host to which a credential is sent (in `auth` of the crate
//! `registry`). Start reading at [`credentials`].

pub mod allowed;
pub mod certs_d;
pub mod credentials;
pub mod mirrors;
