// SPDX-License-Identifier: Apache-2.0
//! What is between a tool and a registry: faults, redirects, proxies, fronts; and what a job costs.

mod faults;
mod fronts;
mod proxies;
mod proxies_http;
mod proxies_squid;
mod redirects;
mod request_counts;
