// SPDX-License-Identifier: Apache-2.0
//! TLS: the version, and the certificate that the registry presented. They are reported even if the
//! certificate was not trusted.

use std::time::{Duration, SystemTime};

use common::error::Result;
use net::peer::{Peer, Verification};
use net::tls::presented::{self, Presented};
use net::url::Url;

use crate::clock::days_until;
use crate::report::{Is, Report};

/// The end of the year 9999, in seconds since the epoch: the last time that the date format can
/// show.
const LAST: u64 = 253_402_300_799;

/// Reports the facts about the connection to a URL. `failed` says whether the connection failed.
///
/// # Errors
/// Local if standard output cannot be written.
pub(crate) fn probe(url: &Url, peer: &Peer, failed: bool, report: &mut Report) -> Result<()> {
    if !url.is_https() {
        return report.put("tls", Is::No, "plain HTTP");
    }
    let Some(Presented { protocol, issuer, expires }) = presented::at(url) else {
        return report.put("tls", Is::Unknown, "no certificate was received");
    };
    let note = match peer.verification {
        _ if failed => "the handshake failed",
        Verification::Required => "",
        Verification::Skipped | Verification::Optional => "the certificate is not checked",
    };
    match protocol {
        Some(protocol) => report.put("tls", Is::Text(protocol), note)?,
        None => report.put("tls", Is::Unknown, note)?,
    }
    match issuer {
        Some(issuer) => report.put("tls-issuer", Is::Text(issuer), "")?,
        None => report.put("tls-issuer", Is::Unknown, "the certificate cannot be read")?,
    }
    match expires.filter(|expires| *expires <= LAST) {
        Some(expires) => {
            let date = SystemTime::UNIX_EPOCH + Duration::from_secs(expires);
            let note = match days_until(expires) {
                days @ ..0 => format!("expired {} days ago", -(days + 1)),
                days => format!("in {days} days"),
            };
            report.put("tls-expires", Is::Text(httpdate::fmt_http_date(date)), note)
        }
        None => report.put("tls-expires", Is::Unknown, "the certificate cannot be read"),
    }
}
