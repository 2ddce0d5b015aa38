// SPDX-License-Identifier: Apache-2.0
//! Deleting a tag or a manifest.
//!
//! To delete a tag, the digest of its manifest is never used: that would delete all tags of the
//! manifest. Many registries cannot delete a tag alone. Their response is 400, 404, 405 or 501, or
//! a success although nothing was deleted.

use common::digest::Digest;
use common::error::{Error, Result, Status};
use common::manifest::{Manifest, Schema1};
use common::reference::is_tag;
use net::failure::Failure;
use net::request::{Method, Payload, Request};
use net::response::Response;
use net::retry::with_attempts;

use super::manifest::{ACCEPT, ACCEPT_SCHEMA1};
use super::{Registry, answer};

/// The hint for a registry that cannot delete a tag alone.
const NO_UNTAG: &str = "REPO@DIGEST removes the manifest with all its tags; to remove only the \
                        tag, move the tag to a new manifest, and remove the new manifest by its \
                        digest";

/// The hint for a registry that deletes nothing.
const SWITCHED_OFF: &str =
    "the registry's operator can allow deletes (in CNCF Distribution: storage.delete.enabled)";

/// The hint for a tag that a registry does not delete, if the reason is not known.
const NEITHER: &str = "the registry's operator can allow deletes (in CNCF Distribution: \
                       storage.delete.enabled); if the registry cannot remove a tag alone, \
                       REPO@DIGEST removes the manifest with all its tags";

/// The outcome of a DELETE that is not an error.
enum Deleted {
    /// Accepted with 202, or absent after an earlier attempt.
    Done,
    /// A success status that the specification does not define. Any web server may answer 200.
    Unconfirmed,
    /// 404, and no earlier attempt can have deleted it.
    Absent,
    /// The registry does not delete this tag. The error says why.
    Kept(Error),
}

impl Registry {
    /// Deletes a manifest with all its tags. Before that, removes it from the list of its subject's
    /// referrers, so that the list never names a deleted manifest. If the manifest cannot be
    /// deleted, it is listed again.
    ///
    /// # Errors
    /// Absent if the repository does not have the manifest. Malformed if the registry does not
    /// delete manifests. Refused or Unavailable, depending on the registry's response. Otherwise
    /// the errors of changing the list.
    pub fn remove_manifest(&self, digest: &Digest) -> Result<()> {
        let name = digest.to_string();
        let Some(subject) = self.subject_of(digest)? else { return self.delete(&name) };
        let removed = self.unlist_referrer(&subject, digest)?;
        let outcome = self.delete(&name);
        match (&outcome, removed) {
            (Err(error), Some(entry)) if error.status() != Status::Absent => {
                self.list_referrers_of(&subject, &[entry])?;
                outcome
            }
            _ => outcome,
        }
    }

    /// Deletes a tag alone. The manifest and its other tags are kept.
    ///
    /// # Errors
    /// Absent if the tag does not exist. Malformed if the registry cannot delete a tag alone.
    /// Refused or Unavailable, depending on the registry's response.
    pub fn remove_tag(&self, tag: &str) -> Result<()> {
        self.delete(tag)
    }

    /// The digest of a manifest's subject. `None` if it has no subject, or if the manifest is
    /// invalid: invalid manifests can be deleted too.
    ///
    /// # Errors
    /// Absent, Refused or Unavailable, depending on the registry's response.
    pub fn subject_of(&self, digest: &Digest) -> Result<Option<Digest>> {
        let accept: Vec<&str> = ACCEPT.iter().chain(&ACCEPT_SCHEMA1).copied().collect();
        let remote = match self.manifest(&digest.to_string(), Some(digest), &accept) {
            Err(error) if matches!(error.status(), Status::Content | Status::Malformed) => {
                return Ok(None);
            }
            remote => remote?,
        };
        let said = remote.said.as_deref();
        let parsed = Manifest::parse(&remote.bytes, said, "", Schema1::Allowed).ok();
        Ok(parsed.and_then(|parsed| parsed.subject).map(|subject| subject.digest))
    }

    /// Deletes a tag or, by digest, a manifest.
    pub(super) fn delete(&self, name: &str) -> Result<()> {
        let url = self.url(&format!("manifests/{name}"))?;
        let what = self.manifest_name(name);
        let mut is_repeated = false;
        let deleted = with_attempts(self.client(), || {
            let request = Request::new(Method::Delete, &url, &[]);
            let response = self.session.send(&self.scope, request, &mut Payload::None);
            let may_be_done = std::mem::replace(&mut is_repeated, true);
            let response = response.map_err(|failure| failure.context(&what))?;
            match response.status.as_u16() {
                202 => Ok(Deleted::Done),
                200 | 204 => Ok(Deleted::Unconfirmed),
                // The response to the earlier attempt was lost.
                404 if may_be_done => Ok(Deleted::Done),
                404 => Ok(Deleted::Absent),
                400 | 405 | 501 if is_tag(name) => {
                    Ok(Deleted::Kept(refused(response, name, &what).error))
                }
                _ => Err(refused(response, name, &what)),
            }
        })?;
        match deleted {
            Deleted::Done => Ok(()),
            Deleted::Unconfirmed if self.serves_name(name)? => {
                let what = format_args!(
                    "{what}: the registry accepted the request, but did not delete it"
                );
                Err(Error::malformed(what).hint(if is_tag(name) { NEITHER } else { SWITCHED_OFF }))
            }
            Deleted::Unconfirmed => Ok(()),
            // Some registries answer 404 because they cannot delete a tag alone.
            Deleted::Absent if is_tag(name) && self.serves_name(name)? => {
                let what = format_args!("{what}: the registry cannot remove a tag alone: 404");
                Err(Error::malformed(what).hint(NO_UNTAG))
            }
            // A registry that cannot delete a tag sends the same response if the tag does not
            // exist.
            Deleted::Kept(error) if self.serves_name(name)? => Err(error),
            Deleted::Absent | Deleted::Kept(_) => {
                let kind = if is_tag(name) { "tag" } else { "manifest" };
                Err(Error::absent(format_args!("{what}: 404: no such {kind}")))
            }
        }
    }

    /// Whether the repository has a manifest, of any type, under this tag or digest.
    fn serves_name(&self, name: &str) -> Result<bool> {
        let url = self.url(&format!("manifests/{name}"))?;
        let accept: Vec<&str> = ACCEPT.iter().chain(&ACCEPT_SCHEMA1).copied().collect();
        let accept = accept.join(", ");
        self.has_at(&url, &accept, &self.manifest_name(name))
    }
}

/// The failure for a DELETE that the registry refused.
fn refused(response: Response, name: &str, what: &str) -> Failure {
    let status = response.status.as_u16();
    let (failure, body) = answer::failure_with_body(response, what);
    let code = body.code.to_ascii_uppercase();
    let cannot = matches!(
        code.as_str(),
        "" | "DIGEST_INVALID" | "MANIFEST_INVALID" | "NAME_INVALID" | "TAG_INVALID" | "UNSUPPORTED"
    );
    let (why, hint) = match status {
        405 | 501 if is_tag(name) => {
            ("deletes are switched off, or the registry cannot remove a tag alone", NEITHER)
        }
        405 | 501 => ("the registry has deletes switched off", SWITCHED_OFF),
        400 if is_tag(name) && cannot => ("the registry cannot remove a tag alone", NO_UNTAG),
        _ if code.contains("DANGLING_TAG") => ("it has tags", "remove its tags first"),
        _ => return failure,
    };
    let detail = failure.error.to_string();
    let detail = detail.strip_prefix(what).unwrap_or(&detail).trim_start_matches(": ");
    Error::malformed(format_args!("{what}: {why}: {detail}")).hint(hint).into()
}
