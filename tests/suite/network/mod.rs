// SPDX-License-Identifier: Apache-2.0
//! The network between a tool and a registry: faults, redirects, proxies, fronts; and the number of
//! requests that a job needs.

mod advice;
mod allowed_hosts;
mod changing;
mod connecting;
mod endless;
mod faults;
mod proxies_http;
mod redirects;
mod request_counts;
mod waits;

#[path = "."]
mod with_peers {
    mod fronts;
    mod proxies;
    mod proxies_squid;
}
