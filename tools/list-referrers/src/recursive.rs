// SPDX-License-Identifier: Apache-2.0
//! Prints everything that a copy of an image with its referrers needs: the image, the referrers of
//! all its manifests, the referrers of those, and all blobs. Each digest is printed once, and each
//! manifest after its blobs.
//!
//! The image is printed too. Otherwise an image without referrers would print nothing, and the next
//! program treats empty input as a failure.

use std::collections::VecDeque;

use common::descriptor::{Descriptor, Line};
use common::digest::Digest;
use common::error::{Error, Result, Status};
use common::{mediatype, notice};
use store::below::{Step, Walk};
use store::{Document, ReadOptions, Which};

use crate::lines::LineWriter;
use crate::source::Source;

/// A manifest whose referrers are to be listed.
struct Subject {
    digest: Digest,
    /// Whether the manifest is a part of the image. Only the referrers of such a manifest are
    /// selected by artifact type.
    is_image: bool,
}

/// The digests that were printed, and the manifests whose referrers are not printed yet.
struct Printer<'a> {
    walk: Walk<'a>,
    open: VecDeque<Subject>,
    output: &'a mut LineWriter,
}

/// Prints an image and its referrers. With `artifact_type`, only referrers of that type, with all
/// their own referrers.
///
/// # Errors
/// Absent if neither the image nor a referrer of it exists. Malformed if a manifest is invalid or
/// there are too many digests. Otherwise as for [`Store::manifest`](store::Store::manifest) and
/// [`Source::referrers`].
pub(crate) fn print(
    source: &Source<'_>,
    which: Which<'_>,
    options: ReadOptions<'_>,
    artifact_type: Option<&str>,
    output: &mut LineWriter,
) -> Result<()> {
    let walk = Walk::new(source.store, options);
    let mut printer = Printer { walk, open: VecDeque::new(), output };
    let mut missing = None;
    match source.store.manifest(which, options) {
        Ok(document) => {
            // An entry of a layout has annotations that do not belong to the manifest.
            let Descriptor { media_type, digest, size, .. } = &document.descriptor;
            let top = Descriptor::new(media_type, digest.clone(), *size);
            printer.print(document, &top, true)?;
        }
        Err(error) => match which {
            Which::Digest(digest) if error.status() == Status::Absent => {
                printer.open.push_back(Subject { digest: digest.clone(), is_image: true });
                missing = Some(error);
            }
            _ => return Err(error),
        },
    }
    while let Some(Subject { digest: subject, is_image }) = printer.open.pop_front() {
        let artifact_type = artifact_type.filter(|_| is_image);
        let is_listed = source.referrers(&subject, artifact_type, &mut |referrer| {
            printer.print_referrer(source, referrer, &subject, options)
        })?;
        if let Some(missing) = missing.take() {
            if !is_listed {
                return Err(missing);
            }
            notice::warn("no subject", || format!("{missing}: only its referrers are printed"));
        }
    }
    Ok(())
}

impl Printer<'_> {
    /// Prints a referrer. If the store does not have it, or if it has another subject, it is
    /// skipped with a warning.
    fn print_referrer(
        &mut self,
        source: &Source<'_>,
        referrer: Descriptor,
        subject: &Digest,
        options: ReadOptions<'_>,
    ) -> Result<()> {
        if self.walk.has_passed(&referrer.digest) {
            return Ok(());
        }
        let store = source.store;
        let digest = &referrer.digest;
        if !mediatype::is_manifest(&referrer.media_type) {
            let what = format_args!("{store}: the referrer {digest} is not a manifest");
            return Err(Error::malformed(what));
        }
        let document = match store.described(referrer.clone(), options) {
            Err(error) if error.status() == Status::Absent => {
                notice::warn("missing referrer", || {
                    format!(
                        "{store}: {digest} is listed as a referrer, but does not exist: skipped"
                    )
                });
                return Ok(());
            }
            document => document?,
        };
        let stated = document.manifest.subject.as_ref().map(|subject| &subject.digest);
        if stated != Some(subject) {
            notice::warn("wrong referrer", || {
                format!(
                    "{store}: {digest} is listed as a referrer, but has another subject: skipped"
                )
            });
            return Ok(());
        }
        self.print(document, &referrer, false)
    }

    /// Prints everything below a manifest, and then its line.
    fn print(&mut self, document: Document, line: &Descriptor, is_image: bool) -> Result<()> {
        let Printer { walk, open, output } = self;
        let mut each = |step| {
            let Step::Line(line) = step else { return Ok(()) };
            if let Line::Whole(Descriptor { media_type, digest, .. }) = &line
                && mediatype::is_manifest(media_type)
            {
                open.push_back(Subject { digest: digest.clone(), is_image });
            }
            output.put_line(&line)
        };
        walk.below(document.manifest, &mut each)?;
        walk.once(line, &mut each)
    }
}
