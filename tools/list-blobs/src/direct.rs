// SPDX-License-Identifier: Apache-2.0
//! Lists the descriptors in one manifest: an image's config and layers, or an index's manifests. No
//! other manifest is read.

use common::descriptor::Descriptor;
use common::error::{Error, Result};
use common::manifest::{Content, Manifest};
use common::mediatype::{self, Kind};
use common::platform::Platform;
use common::selection;

use crate::lines::LineWriter;

/// Which blobs of an image are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The config and the layers.
    All,
    /// The config alone.
    Config,
    /// The layers alone.
    Layers,
}

/// Prints the descriptors in one manifest. If it is an index and `platform` is given, prints only
/// the entry for that platform.
///
/// # Errors
/// Usage if `part` selects blobs of an image but the manifest is an index, or if the platform may
/// be in a nested index. Absent if no entry matches the platform.
pub(crate) fn print(
    manifest: Manifest,
    part: Part,
    platform: Option<&Platform>,
    output: &mut LineWriter,
) -> Result<()> {
    match manifest.content {
        Content::Image { config, layers } => {
            if part != Part::Layers {
                output.put(&config)?;
            }
            if part != Part::Config {
                layers.iter().try_for_each(|layer| output.put(layer))?;
            }
            Ok(())
        }
        Content::Index { manifests } => {
            let flag = match part {
                Part::All => return print_index(&manifests, platform, output),
                Part::Config => "--config",
                Part::Layers => "--layers",
            };
            let error = Error::usage(format_args!("{flag}: this is an index, not an image"));
            Err(error.hint("-p OS/ARCH with --from STORE selects an image"))
        }
        Content::Schema1(_) if part == Part::Config => {
            let error = Error::usage("--config: this is a schema 1 manifest, which has no config");
            Err(error.hint("build-config --schema1 makes a config"))
        }
        Content::Schema1(image) => {
            if let Some(platform) = platform {
                selection::check_platform(image.platform.clone(), platform)?;
            }
            image.layers().try_for_each(|layer| output.put_schema1(layer))
        }
    }
}

fn print_index(
    manifests: &[Descriptor],
    platform: Option<&Platform>,
    output: &mut LineWriter,
) -> Result<()> {
    let Some(platform) = platform else {
        return manifests.iter().try_for_each(|entry| output.put(entry));
    };
    match selection::candidates(manifests, platform).first() {
        None => {
            let error = selection::no_platform(&selection::offered(manifests), platform);
            Err(match selection::unlabelled(manifests).next() {
                Some(_) => error.hint(
                    "--from STORE reads the platforms of the other entries from their configs",
                ),
                None => error,
            })
        }
        Some(entry) if mediatype::kind(&entry.media_type) == Kind::Index => {
            let what = format_args!("{platform} may be in the index {}", entry.digest);
            Err(Error::usage(what).hint("--from STORE searches that index"))
        }
        Some(entry) => output.put(entry),
    }
}
