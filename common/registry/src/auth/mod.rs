// SPDX-License-Identifier: Apache-2.0
//! Authentication at a registry.
//!
//! | module | owns |
//! |---|---|
//! | [`session`] | sending requests with an Authorization header; handling a 401 |
//! | `api` | the API's root and the connection to it |
//! | `known` | the challenge, credential and tokens of a session |
//! | [`challenge`] | parsing challenges |
//! | [`scope`] | the permissions that a request needs |
//! | `token` | requests to a token server |
//! | `elsewhere` | anonymous tokens for a registry that the registry redirects to |
//!
//! Before a challenge, the only credential that is sent is a bearer token that the user gave for
//! this registry. A Basic challenge is answered with user name and password, once. A Bearer
//! challenge (distribution's token specification) is answered by fetching a token from the
//! challenge's realm. Without a credential, an anonymous token is fetched: public registries
//! require one even for public images.
//!
//! A run fetches one token for each set of scopes and shares it among its connections. If the
//! registry rejects a token that was just fetched, the token is replaced once, provided that the
//! new challenge names an error or a further scope. Not here: the URLs of a registry's API.

mod api;
pub mod challenge;
mod elsewhere;
mod known;
pub mod scope;
pub mod session;
mod token;

pub use scope::Scope;
pub use session::Session;
