// SPDX-License-Identifier: Apache-2.0
//! How a registry asks who is there, and the answer.
//!
//! | module | owns |
//! |---|---|
//! | [`session`] | requests sent with what the registry wants, and what a 401 leads to |
//! | `api` | which API that is, and how it is reached |
//! | `known` | what was learnt of challenges, credentials and tokens |
//! | [`challenge`] | what is asked for |
//! | [`scope`] | what a request needs to be allowed to do |
//! | `token` | asking a token server |
//!
//! Nothing is sent before a challenge, but for a bearer token that was given for just this
//! registry. A Basic challenge is answered by name and password, and once only. A Bearer challenge
//! (distribution's token specification) is answered by asking its realm for a token; without
//! credentials that is the anonymous token that public registries want even for public images. A
//! program asks for one token for each set of scopes that it needs and shares it among its
//! connections. A token that was just fetched and is refused is replaced once, if the refusal says
//! what is wrong with it. Not here: which URLs a registry's API has.

mod api;
pub mod challenge;
mod known;
pub mod scope;
pub mod session;
mod token;

pub use scope::Scope;
pub use session::Session;
