// SPDX-License-Identifier: Apache-2.0
//! put-manifest: a manifest's exact bytes into a registry or a layout, checked before they are sent.
//!
//! The last step of a push: the tag moves when all that the manifest names is there. Not here: sending that
//! (push-blob), and writing a manifest (build-manifest).

mod complete;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use common::cli;
use common::descriptor::Descriptor;
use common::digest::{Algorithm, Digest};
use common::error::{Error, Result, Status};
use common::lines::looks_like_descriptor;
use common::manifest::{Content, MAX_SIZE, Manifest, Schema1};
use common::output::Output;
use common::reference::{LayoutReference, Location, Reference, is_tag};
use common::{exit, stdio};
use layout::Layout;
use registry::Registry;
use store::Remote;
use store::options::{Network, Stdin};

/// Put a manifest into a registry or a layout
///
/// The manifest is read from FILE or standard input and stored byte for byte. Its descriptor line is printed.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    /// Where it goes: a reference, or oci:DIR with a tag
    #[arg(value_name = "REF")]
    location: Location,
    /// The manifest; without, standard input
    file: Option<PathBuf>,
    /// Give it this tag too (may come again)
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Ask for all that it names first, and list what is missing
    #[arg(long)]
    check: bool,
    /// Write its digest to FILE, when it is stored
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    /// No warnings
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    network: Network,
}

/// A manifest that may be stored.
struct Document {
    bytes: Vec<u8>,
    digest: Digest,
    manifest: Manifest,
}

fn main() -> ExitCode {
    exit::run("put-manifest", |cli: Cli| put(&cli))
}

fn put(cli: &Cli) -> Result<()> {
    exit::quiet(cli.quiet);
    let remote = cli.network.remote(Stdin::unless(cli.file.as_deref()))?;
    let mut output = stdio::stdout()?;
    let digestfile = cli.digestfile.as_deref().map(Output::open).transpose()?;
    let document = read(cli)?;
    match &cli.location {
        Location::Registry(reference) => {
            into_registry(reference, &cli.tags, cli.check, &remote, &document)?;
        }
        Location::Layout(place) => into_layout(place, &cli.tags, &document)?,
    }
    let Document { bytes, digest, manifest } = document;
    if let Some(digestfile) = digestfile {
        digestfile.write(format!("{digest}\n").as_bytes())?;
    }
    let line = Descriptor::new(&manifest.media_type, digest, bytes.len() as u64).line();
    output
        .write_all(format!("{line}\n").as_bytes())
        .map_err(|cause| Error::local("standard output", &cause))
}

/// Reads the manifest and refuses what fetch-manifest would refuse, and what is not what the reference says.
fn read(cli: &Cli) -> Result<Document> {
    let bytes = cli::read_document(cli.file.as_deref(), MAX_SIZE)?;
    let name = cli.location.to_string();
    let manifest = match Manifest::parse(&bytes, None, &name, Schema1::Allowed) {
        Err(_) if looks_like_descriptor(&bytes) => {
            let error = Error::usage("a descriptor line came, and a manifest is wanted");
            return Err(error.hint("push-blob --from STORE takes descriptor lines"));
        }
        parsed => parsed.map_err(|e| e.context("manifest"))?,
    };
    if manifest.content == Content::Schema1 {
        return Err(Error::malformed("manifest: schema 1 is read, and not written any more"));
    }
    let wanted = match &cli.location {
        Location::Registry(reference) => reference.digest.as_ref(),
        Location::Layout(place) => place.digest.as_ref(),
    };
    let digest = wanted.map_or(Algorithm::Sha256, Digest::algorithm).digest(&bytes);
    if let Some(want) = wanted.filter(|want| **want != digest) {
        return Err(Error::content(format_args!(
            "manifest: digest differs: got {digest}, want {want}"
        )));
    }
    Ok(Document { bytes, digest, manifest })
}

fn into_registry(
    reference: &Reference,
    tags: &[String],
    check: bool,
    remote: &Remote,
    document: &Document,
) -> Result<()> {
    if let Some(wrong) = tags.iter().find(|tag| !is_tag(tag)) {
        return Err(Error::usage(format_args!("--tag {wrong}: not a tag")));
    }
    let registry =
        Arc::new(Registry::open_to_push(&reference.repository, &remote.client, &remote.peer)?);
    let Document { bytes, digest, manifest } = document;
    if check {
        complete::in_registry(&registry, manifest)?;
    }
    // By a tag it is there by its digest too.
    let first = match (&reference.tag, &reference.digest) {
        (None, Some(digest)) => digest.to_string(),
        _ => reference.tag_or_latest().to_owned(),
    };
    let mut names = vec![first];
    names.extend(tags.iter().filter(|tag| **tag != names[0]).cloned().collect::<Vec<_>>());
    registry.publish(&names, bytes, digest, manifest)
}

fn into_layout(place: &LayoutReference, tags: &[String], document: &Document) -> Result<()> {
    if let Some(wrong) = tags.iter().find(|tag| tag.is_empty()) {
        return Err(Error::usage(format_args!("--tag \"{wrong}\": not a tag")));
    }
    let Document { bytes, digest, manifest } = document;
    // What cannot be stored makes no layout either.
    match Layout::open(&place.dir) {
        Err(error) if error.status() == Status::Absent => complete::in_none(place, manifest)?,
        layout => complete::in_layout(&layout?, manifest)?,
    }
    let layout = Layout::create(&place.dir)?;
    layout.put_bytes(digest, bytes)?;
    let entry = Descriptor::new(&manifest.media_type, digest.clone(), bytes.len() as u64);
    let entry = match manifest.subject {
        // What a layout lists, others find referrers by.
        Some(_) => common::manifest::referrer(bytes, &entry)?,
        None => entry,
    };
    let names: Vec<&str> = place.tag.iter().chain(tags).map(String::as_str).collect();
    if names.is_empty() {
        return layout.tag(&entry, None);
    }
    names.iter().try_for_each(|name| layout.tag(&entry, Some(name)))
}
