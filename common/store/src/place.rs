// SPDX-License-Identifier: Apache-2.0
//! Reads a repository from its mirrors, in order, and then from the registry itself.
//!
//! If a mirror does not have the requested content, the next place is tried. If a mirror fails in
//! another way (it is unreachable, refuses, or sends wrong content), it is not used again in this
//! run, and a warning is recorded. If every place fails, the registry's error is reported. Mirrors
//! are used for manifests and blobs only: a mirror's lists of tags and referrers may be outdated.
//! Not here: writing, which always goes to the registry.
//!
//! A mirror is another host, so the command line's settings for the registry do not apply to it. A
//! mirror's manifests are verified before they are used. A blob is passed on before it is verified,
//! so the mirror that sent it is recorded. A caller that finds wrong bytes drops that mirror and
//! requests the blob again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::{Error, Result, Status};
use common::manifest::{Manifest, Schema1};
use common::notice;
use common::reference::Repository;
use layout::Layout;
use machine::mirrors::{self, Configured, Place, Serves};
use net::client::Client;
use net::failure::Failure;
use net::peer::Peer;

use crate::Remote;
use registry::Registry;
use registry::blob::{BlobAnswer, ByteRange};
use registry::manifest::RemoteManifest;

/// The mirrors to read a repository from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mirrors {
    /// The mirrors in the machine's configuration.
    Configured,
    /// No mirrors. A different location of the registry in the machine's configuration is ignored
    /// too.
    None,
    /// These mirrors, in order.
    Named(Vec<String>),
}

/// A repository and the places it can be read from: its mirrors and its registry.
pub struct Places {
    repository: Repository,
    remote: Remote,
    mirrors: Vec<Mirror>,
    /// The registry's location, if the machine's configuration gives a location that differs from
    /// its name.
    moved: Option<Place>,
    /// The configuration file that blocks the registry itself, but not its mirrors.
    blocked: Option<String>,
    /// For each blob, the mirrors that sent bytes of it. An entry is removed when its mirrors are
    /// dropped.
    served_by: Mutex<HashMap<Digest, Vec<usize>>>,
    /// The registry itself. Opened only when no mirror has the content, because it may be
    /// unreachable.
    own: OnceLock<Result<Registry>>,
    /// The layout whose manifests are used for requests by digest.
    pub(crate) kept: Option<Layout>,
}

/// A mirror of the repository.
struct Mirror {
    place: Place,
    opened: OnceLock<Result<Registry>>,
    /// Whether the mirror failed and is not used again.
    failed: AtomicBool,
}

impl Places {
    /// Finds the places from which a repository can be read. Sends nothing yet: the requested
    /// content may already be on this machine.
    ///
    /// # Errors
    /// Refused if the machine's configuration blocks the registry and it has no mirrors. Malformed
    /// if that configuration is invalid, Local if it cannot be read.
    pub fn open(repository: &Repository, remote: &Remote) -> Result<Places> {
        let Configured { mirrors, own, blocked } = mirrors::configured(repository)?;
        let (mut found, mut moved) = match &remote.mirrors {
            Mirrors::Configured => (mirrors, own),
            Mirrors::None => (Vec::new(), None),
            Mirrors::Named(names) => {
                let named = names.iter().map(|name| mirrors::named(name, repository));
                (named.collect::<Result<_>>()?, own)
            }
        };
        // If the registry is blocked, its last mirror is the primary and gets the full retry
        // budget.
        if blocked.is_some() {
            moved = found.pop_if(|place| place.serves == Serves::All);
        }
        let mirrors = found.into_iter().map(Mirror::new).collect();
        let places = Places {
            repository: repository.clone(),
            remote: remote.clone(),
            mirrors,
            moved,
            blocked,
            served_by: Mutex::default(),
            own: OnceLock::new(),
            kept: None,
        };
        if places.mirrors.is_empty() {
            places.refuse_blocked()?;
        }
        Ok(places)
    }

    /// The repository, by its own name, not a mirror's.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The settings of the run.
    pub fn client(&self) -> &Client {
        &self.remote.client
    }

    /// Stops using the mirrors that sent bytes of this blob, for the rest of the run, because the
    /// bytes were wrong or incomplete. Returns whether any mirror was dropped. If not, another
    /// attempt would not help.
    pub fn drop_mirrors_of(&self, digest: &Digest, why: &Error) -> bool {
        let mirrors = self.served_by().remove(digest).unwrap_or_default();
        for mirror in &mirrors {
            self.mirrors[*mirror].stop_using(&self.remote.client, why);
        }
        !mirrors.is_empty()
    }

    fn served_by(&self) -> MutexGuard<'_, HashMap<Digest, Vec<usize>>> {
        self.served_by.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Like [`Registry::manifest`]. A manifest that the layout has ([`kept`](crate::kept)) is not
    /// fetched. If a mirror's response is not a valid manifest, the next place is tried.
    ///
    /// # Errors
    /// The errors of [`Registry::manifest`] at the registry itself.
    pub fn manifest(
        &self,
        name: &str,
        want: Option<&Digest>,
        accept: &[&str],
    ) -> Result<RemoteManifest> {
        if let Some(kept) = want.and_then(|digest| self.kept_manifest(digest, accept)) {
            return Ok(kept);
        }
        let ask = |mirror: &Registry| {
            let remote = mirror.manifest(name, want, accept)?;
            let shown = mirror.manifest_name(name);
            Manifest::parse(&remote.bytes, remote.said.as_deref(), &shown, Schema1::Allowed)?;
            Ok(Some(remote))
        };
        match self.mirrored(want.is_some(), ask) {
            Some((_, remote)) => Ok(remote),
            None => {
                let remote = self.own()?.manifest(name, want, accept);
                remote.map_err(|error| self.with_tags_hint(error, name))
            }
        }
    }

    /// Like [`Registry::manifest_head`].
    ///
    /// # Errors
    /// The errors of [`Registry::manifest_head`] at the registry itself.
    pub fn manifest_head(&self, name: &str, accept: &[&str]) -> Result<Option<Descriptor>> {
        let by_digest = name.parse::<Digest>().is_ok();
        let ask = |mirror: &Registry| Ok(mirror.manifest_head(name, accept)?);
        match self.mirrored(by_digest, ask) {
            Some((_, descriptor)) => Ok(Some(descriptor)),
            None => self.own()?.manifest_head(name, accept),
        }
    }

    /// Like [`Registry::blob`]. From a mirror, only a response with bytes is used.
    ///
    /// # Errors
    /// The errors of [`Registry::blob`] at the registry itself.
    pub fn blob(
        &self,
        digest: &Digest,
        range: Option<ByteRange>,
    ) -> std::result::Result<BlobAnswer, Failure> {
        let ask = |mirror: &Registry| match mirror.blob(digest, range)? {
            answer @ BlobAnswer::Bytes(_) => Ok(Some(answer)),
            BlobAnswer::Unsatisfiable { .. } | BlobAnswer::WrongRange(_) => Ok(None),
        };
        match self.mirrored(true, ask) {
            Some((mirror, answer)) => {
                self.served_by().entry(digest.clone()).or_default().push(mirror);
                Ok(answer)
            }
            None => self.own()?.blob(digest, range),
        }
    }

    /// Like [`Registry::blob_elsewhere`].
    ///
    /// # Errors
    /// As for [`Registry::blob_elsewhere`].
    pub fn blob_elsewhere(
        &self,
        text: &str,
        range: Option<ByteRange>,
    ) -> std::result::Result<BlobAnswer, Failure> {
        self.own()?.blob_elsewhere(text, range)
    }

    /// Like [`Registry::tags`], from the registry itself only.
    ///
    /// # Errors
    /// As for [`Registry::tags`].
    pub fn tags(
        &self,
        last: Option<&str>,
        page: Option<u64>,
        each: impl FnMut(&str) -> Result<bool>,
    ) -> Result<()> {
        registry::refuse_blocked(&self.repository, self.blocked.as_deref())?;
        self.own()?.tags(last, page, each)
    }

    /// Like [`Registry::referrers`], from the registry itself only.
    ///
    /// # Errors
    /// As for [`Registry::referrers`].
    pub fn referrers(
        &self,
        subject: &Digest,
        artifact_type: Option<&str>,
        each: &mut dyn FnMut(Descriptor) -> Result<()>,
    ) -> Result<bool> {
        registry::refuse_blocked(&self.repository, self.blocked.as_deref())?;
        self.own()?.referrers(subject, artifact_type, each)
    }

    /// The error for a manifest, with a hint if a tag does not exist.
    fn with_tags_hint(&self, error: Error, name: &str) -> Error {
        if error.status() == Status::Absent && name.parse::<Digest>().is_err() {
            let repository = &self.repository;
            error.hint(format_args!("list-tags {repository} lists the tags of the repository"))
        } else {
            error
        }
    }

    /// The result from the first mirror that has the content, and the index of that mirror.
    fn mirrored<T>(
        &self,
        by_digest: bool,
        ask: impl Fn(&Registry) -> std::result::Result<Option<T>, Failure>,
    ) -> Option<(usize, T)> {
        for (number, mirror) in self.mirrors.iter().enumerate() {
            if !mirror.serves(by_digest) {
                continue;
            }
            let asked = match mirror.opened(&self.remote.client) {
                Ok(registry) => ask(registry).map_err(|failure| failure.error),
                Err(error) => Err(error.clone()),
            };
            match asked {
                Ok(Some(answer)) => return Some((number, answer)),
                Ok(None) => {}
                Err(error) if error.status() == Status::Absent => {}
                Err(error) => mirror.stop_using(&self.remote.client, &error),
            }
        }
        None
    }

    /// Refuses a registry that the machine's configuration blocks, unless that configuration gives
    /// another location for it.
    fn refuse_blocked(&self) -> Result<()> {
        if self.moved.is_some() {
            return Ok(());
        }
        registry::refuse_blocked(&self.repository, self.blocked.as_deref())
    }

    /// The registry itself, at its own location or the one in the machine's configuration.
    fn own(&self) -> Result<&Registry> {
        self.refuse_blocked()?;
        let Remote { client, peer, .. } = &self.remote;
        let open = || match &self.moved {
            // The settings for the registry also apply to its other location if the host is the
            // same.
            Some(place) if place.host.eq_ignore_ascii_case(self.repository.host()) => {
                Registry::at(place, client, peer)
            }
            Some(place) => Registry::at(place, client, &Peer::unconfigured()),
            None => Registry::open(&self.repository, client, peer),
        };
        self.own.get_or_init(open).as_ref().map_err(Error::clone)
    }
}

impl Mirror {
    fn new(place: Place) -> Mirror {
        Mirror { place, opened: OnceLock::new(), failed: AtomicBool::new(false) }
    }

    /// Whether this mirror is used for requests by digest (`by_digest`) or by tag.
    fn serves(&self, by_digest: bool) -> bool {
        let serves = match self.place.serves {
            Serves::All => true,
            Serves::Digests => by_digest,
            Serves::Tags => !by_digest,
        };
        serves && !self.failed.load(Ordering::Relaxed)
    }

    fn stop_using(&self, client: &Client, why: &Error) {
        if !self.failed.swap(true, Ordering::Relaxed) {
            let Place { host, origin, .. } = &self.place;
            client.comment(format_args!("mirror {host} is no longer used: {why}"));
            notice::say("mirror", &format!("mirror {host} ({origin}) is no longer used: {why}"));
        }
    }

    /// The opened mirror. It gets a single attempt, because other places can be tried.
    fn opened(&self, client: &Client) -> &Result<Registry> {
        self.opened.get_or_init(|| {
            Registry::at(&self.place, &client.with_one_attempt(), &Peer::unconfigured())
        })
    }
}
