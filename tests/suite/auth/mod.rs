// SPDX-License-Identifier: Apache-2.0
//! Credentials: the places where they are found, the servers that get them, and the servers that
//! must never get them.

mod between_registries;
mod credentials;
mod credentials_given;
mod credentials_helpers;
mod facades;
mod token_lifetimes;
mod tokens;

#[path = "."]
mod with_peers {
    mod real_logins;
    mod secrets_repeated;
    mod server_urls;
    mod server_urls_probes;
    mod server_urls_tokens;
    mod server_urls_uploads;
}
