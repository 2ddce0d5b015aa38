// SPDX-License-Identifier: Apache-2.0
//! Where a repository is read: its mirrors in their order, then the registry itself.
//!
//! A mirror that does not have what is asked for is passed over. One that fails otherwise (it is
//! not there, refuses, or gives something else than was asked for) is left for the rest of the run,
//! with a warning. What is reported in the end is the registry's own word. Mirrors are for
//! manifests and blobs: a list of tags is the registry's own to give, since a mirror's may be old.
//! Writing goes to the registry and is not done here.
//!
//! A mirror is another host: what the command line gives for the registry is not for it. What it
//! gives is checked like all else; of what cannot be checked before it was passed on (a blob) the mirror that
//! served it is recorded. A caller that finds the bytes wrong drops that mirror and asks again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use common::descriptor::Descriptor;
use common::digest::Digest;
use common::error::{Error, Result, Status};
use common::manifest::{Manifest, Schema1};
use common::notice;
use common::reference::Repository;
use machine::mirrors::{self, Configured, Place, Serves};
use net::client::Client;
use net::failure::Failure;
use net::peer::Peer;

use crate::Remote;
use registry::Registry;
use registry::blob::{BlobAnswer, ByteRange};
use registry::manifest::RemoteManifest;

/// Where a repository may be read beside its registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mirrors {
    /// Where the machine's configuration says.
    Configured,
    /// Nowhere: the registry is read where its name says.
    None,
    /// At these, in order.
    Named(Vec<String>),
}

/// A repository that is read, wherever it is had.
pub struct Places {
    repository: Repository,
    remote: Remote,
    mirrors: Vec<Mirror>,
    /// Where the registry itself is, when the machine says that it is elsewhere.
    moved: Option<Place>,
    /// The file that blocks the registry itself, and not its mirrors.
    blocked: Option<String>,
    /// Which mirrors gave bytes of a blob, since one was left for it.
    gave: Mutex<HashMap<Digest, Vec<usize>>>,
    /// Spoken to when the mirrors have nothing: it may be out of reach.
    own: OnceLock<Result<Registry>>,
}

/// A place beside the registry.
struct Mirror {
    place: Place,
    opened: OnceLock<Result<Registry>>,
    /// Whether it failed, and is not asked again.
    left: AtomicBool,
}

impl Places {
    /// Finds out where a repository is read. Nothing is sent yet, but for the offer to speak TLS to
    /// a host that may not do so.
    ///
    /// # Errors
    /// Usage, when a host cannot be part of a URL; refused, when the machine's configuration blocks
    /// the registry, and it has no mirrors; malformed and local trouble with that configuration.
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
        // If the registry is blocked, its last mirror is the primary and gets the full retry budget.
        if blocked.is_some() {
            moved = found.pop_if(|place| place.serves == Serves::All);
        }
        let mirrors = found.into_iter().map(Mirror::new).collect();
        let (repository, remote) = (repository.clone(), remote.clone());
        let (gave, own) = (Mutex::default(), OnceLock::new());
        let places = Places { repository, remote, mirrors, moved, blocked, gave, own };
        if places.mirrors.is_empty() {
            places.own()?;
        }
        Ok(places)
    }

    /// The repository, by the name that it is asked for.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// What holds for the run.
    pub fn client(&self) -> &Client {
        &self.remote.client
    }

    /// Leaves the mirrors that gave bytes of a blob, for the rest of the run: they were wrong, or
    /// broke off. Whether there are such: then it is worth asking again.
    pub fn leave_mirrors_of(&self, digest: &Digest, why: &Error) -> bool {
        let guilty = self.gave().remove(digest).unwrap_or_default();
        for mirror in &guilty {
            self.mirrors[*mirror].leave(&self.remote.client, why);
        }
        !guilty.is_empty()
    }

    fn gave(&self) -> MutexGuard<'_, HashMap<Digest, Vec<usize>>> {
        self.gave.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Registry::manifest`]; what a mirror gives must be a manifest, or the next place is
    /// asked.
    ///
    /// # Errors
    /// The registry's own.
    pub fn manifest(
        &self,
        name: &str,
        want: Option<&Digest>,
        accept: &[&str],
    ) -> Result<RemoteManifest> {
        let ask = |mirror: &Registry| {
            let remote = mirror.manifest(name, want, accept)?;
            let shown = mirror.manifest_name(name);
            Manifest::parse(&remote.bytes, remote.said.as_deref(), &shown, Schema1::Allowed)?;
            Ok(Some(remote))
        };
        match self.mirrored(want.is_some(), ask) {
            Some((_, remote)) => Ok(remote),
            None => self.own()?.manifest(name, want, accept),
        }
    }

    /// As [`Registry::manifest_head`].
    ///
    /// # Errors
    /// The registry's own.
    pub fn manifest_head(&self, name: &str, accept: &[&str]) -> Result<Option<Descriptor>> {
        let by_digest = name.parse::<Digest>().is_ok();
        let ask = |mirror: &Registry| Ok(mirror.manifest_head(name, accept)?);
        match self.mirrored(by_digest, ask) {
            Some((_, descriptor)) => Ok(Some(descriptor)),
            None => self.own()?.manifest_head(name, accept),
        }
    }

    /// As [`Registry::blob`]. Of a mirror only bytes are an answer.
    ///
    /// # Errors
    /// The registry's own.
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
                self.gave().entry(digest.clone()).or_default().push(mirror);
                Ok(answer)
            }
            None => self.own()?.blob(digest, range),
        }
    }

    /// As [`Registry::blob_elsewhere`].
    ///
    /// # Errors
    /// As it.
    pub fn blob_elsewhere(
        &self,
        text: &str,
        range: Option<ByteRange>,
    ) -> std::result::Result<BlobAnswer, Failure> {
        self.own()?.blob_elsewhere(text, range)
    }

    /// As [`Registry::tags`], of the registry itself.
    ///
    /// # Errors
    /// As it.
    pub fn tags(
        &self,
        last: Option<&str>,
        page: Option<u64>,
        each: impl FnMut(&str) -> Result<bool>,
    ) -> Result<()> {
        registry::refuse_blocked(&self.repository, self.blocked.as_deref())?;
        self.own()?.tags(last, page, each)
    }

    /// What the first mirror that can answer says, and which one it is.
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
                Err(error) => mirror.leave(&self.remote.client, &error),
            }
        }
        None
    }

    /// The registry itself, or who stands in its place.
    fn own(&self) -> Result<&Registry> {
        if self.moved.is_none() {
            registry::refuse_blocked(&self.repository, self.blocked.as_deref())?;
        }
        let Remote { client, peer, .. } = &self.remote;
        let open = || match &self.moved {
            // What is known of the registry holds at the place if that is the same host.
            Some(place) if place.host.eq_ignore_ascii_case(self.repository.host()) => {
                Registry::at(place, client, peer)
            }
            Some(place) => Registry::at(place, client, &Peer::stranger()),
            None => Registry::open(&self.repository, client, peer),
        };
        self.own.get_or_init(open).as_ref().map_err(Error::clone)
    }
}

impl Mirror {
    fn new(place: Place) -> Mirror {
        Mirror { place, opened: OnceLock::new(), left: AtomicBool::new(false) }
    }

    /// Whether it is to be asked for what is named by a digest, or else by a tag.
    fn serves(&self, by_digest: bool) -> bool {
        let serves = match self.place.serves {
            Serves::All => true,
            Serves::Digests => by_digest,
            Serves::Tags => !by_digest,
        };
        serves && !self.left.load(Ordering::Relaxed)
    }

    fn leave(&self, client: &Client, why: &Error) {
        if !self.left.swap(true, Ordering::Relaxed) {
            let Place { host, origin, .. } = &self.place;
            client.comment(format_args!("mirror {host} is left: {why}"));
            notice::say("mirror", &format!("mirror {host} ({origin}) is left: {why}"));
        }
    }

    /// A mirror gets one attempt: there is another place.
    fn opened(&self, client: &Client) -> &Result<Registry> {
        self.opened.get_or_init(|| {
            Registry::at(&self.place, &client.with_one_attempt(), &Peer::stranger())
        })
    }
}
