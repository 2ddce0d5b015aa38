// SPDX-License-Identifier: Apache-2.0
//! Chooses among the entries of an index by platform.
//!
//! An entry's `platform` is optional. [`candidates`] judges entries by that field alone. If no
//! entry matches, the entries without the field ([`unlabelled`]) can still be judged by their image
//! configs, with [`by_config`]. Not here: reading manifests and configs, which needs a store.

use crate::descriptor::Descriptor;
use crate::error::{Error, Result, printable};
use crate::json;
use crate::mediatype::{self, Kind};
use crate::platform::{Platform, Rank};

/// The maximum number of entries whose configs are read for one choice.
pub const MAX_EXAMINED: usize = 16;

/// The entries of an index that match a platform, best first. They are sorted by OS version
/// (entries that state the wanted one are first), then by variant (an exact one is before an older
/// one). Equal entries keep the order of the index. Attestations and entries without a platform are
/// left out. An exception is an entry without a platform that is itself an index: it is kept, at
/// the end, because it may contain a matching manifest.
pub fn candidates<'a>(manifests: &'a [Descriptor], wanted: &Platform) -> Vec<&'a Descriptor> {
    let mut ranked: Vec<(bool, Option<Rank>, &Descriptor)> = manifests
        .iter()
        .filter(|entry| !entry.is_attestation_or_artifact())
        .filter_map(|entry| match entry.platform() {
            Some(platform) => wanted.rank(&platform).map(|rank| (false, Some(rank), entry)),
            None if mediatype::kind(&entry.media_type) == Kind::Index => Some((true, None, entry)),
            None => None,
        })
        .collect();
    ranked.sort_by_key(|(is_index, rank, _)| (*is_index, *rank));
    ranked.into_iter().map(|(_, _, entry)| entry).collect()
}

/// The entries of an index that are image manifests and state no platform.
pub fn unlabelled(manifests: &[Descriptor]) -> impl Iterator<Item = &Descriptor> {
    manifests.iter().filter(|entry| {
        mediatype::kind(&entry.media_type) == Kind::Manifest
            && entry.platform().is_none()
            && !entry.is_attestation_or_artifact()
    })
}

/// The platforms that the entries of an index state, without attestations.
pub fn offered(manifests: &[Descriptor]) -> Vec<Platform> {
    let entries = manifests.iter().filter(|entry| !entry.is_attestation_or_artifact());
    entries.filter_map(Descriptor::platform).collect()
}

/// Chooses among entries without a platform. `read` returns the platform in an entry's config, or
/// `None` if it has none. At most [`MAX_EXAMINED`] entries are read. The platforms found are added
/// to `offered`.
///
/// # Errors
/// Absent if no entry matches the platform; the message lists `offered`. Otherwise the error of
/// `read`.
pub fn by_config(
    entries: &[Descriptor],
    wanted: &Platform,
    mut offered: Vec<Platform>,
    mut read: impl FnMut(&Descriptor) -> Result<Option<Platform>>,
) -> Result<Descriptor> {
    let mut best: Option<(Rank, &Descriptor)> = None;
    for entry in entries.iter().take(MAX_EXAMINED) {
        let Some(platform) = read(entry)? else { continue };
        let rank = wanted.rank(&platform);
        offered.push(platform);
        match rank {
            Some(Rank::EXACT) => return Ok(entry.clone()),
            Some(rank) if best.is_none_or(|(than, _)| rank < than) => best = Some((rank, entry)),
            _ => {}
        }
    }
    if let Some((_, entry)) = best {
        return Ok(entry.clone());
    }
    let error = no_platform(&offered, wanted);
    if entries.len() <= MAX_EXAMINED {
        return Err(error);
    }
    Err(Error::absent(format_args!(
        "{error}; only the first {MAX_EXAMINED} entries without a platform were examined"
    )))
}

/// The error that no entry of an index matches a platform. It lists the platforms that are offered.
pub fn no_platform(offered: &[Platform], wanted: &Platform) -> Error {
    let mut offered: Vec<String> = offered.iter().map(Platform::to_string).collect();
    offered.dedup();
    let offered = if offered.is_empty() { "none".to_owned() } else { offered.join(", ") };
    Error::absent(format_args!(
        "no manifest for {wanted} (the index offers: {})",
        printable(&offered)
    ))
}

/// The platform that an image config states. `None` if the operating system or the architecture is
/// missing, or if the bytes are not a JSON object.
pub fn platform(config: &[u8]) -> Option<Platform> {
    Platform::from_object(&json::parse_object(config).ok()?)
}

/// Checks that a single image, which is not in an index, is for the wanted platform. An image
/// without a platform is accepted. A variant or an OS version is compared only if the image states
/// one.
///
/// # Errors
/// Absent if the platforms differ.
pub fn check_platform(offered: Option<Platform>, wanted: &Platform) -> Result<()> {
    let Some(mut offered) = offered else { return Ok(()) };
    let shown = offered.to_string();
    if offered.variant.is_empty() {
        offered.variant.clone_from(&wanted.variant);
    }
    if offered.os_version.is_empty() {
        offered.os_version.clone_from(&wanted.os_version);
    }
    match wanted.rank(&offered) {
        Some(_) => Ok(()),
        None => {
            let shown = printable(&shown);
            Err(Error::absent(format_args!("the image is for {shown}, not {wanted}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn entry(platform: &str, rest: &str) -> Descriptor {
        let text = format!(
            r#"{{"mediaType":"{}","digest":"sha256:{HEX}","size":1{platform}{rest}}}"#,
            mediatype::OCI_MANIFEST
        );
        Descriptor::from_line(text.as_bytes()).unwrap()
    }

    fn on(architecture: &str, variant: &str) -> Descriptor {
        let platform = format!(
            r#","platform":{{"os":"linux","architecture":"{architecture}","variant":"{variant}"}}"#
        );
        entry(&platform, "")
    }

    fn variants(manifests: &[Descriptor], wanted: &str) -> Vec<String> {
        let wanted: Platform = wanted.parse().unwrap();
        let found = candidates(manifests, &wanted);
        found.iter().map(|entry| entry.platform().unwrap().variant).collect()
    }

    #[test]
    fn the_best_entry_is_first_and_attestations_are_left_out() {
        let unknown = r#","platform":{"os":"unknown","architecture":"unknown"}"#;
        let manifests = [
            entry("", ""),
            entry(unknown, ""),
            on("arm", "v5"),
            on("arm", "v7"),
            on("arm", "v6"),
            on("arm", "v8"),
        ];
        assert_eq!(variants(&manifests, "linux/arm/v7"), ["v7", "v6", "v5"]);
    }

    #[test]
    fn a_stated_variant_comes_before_an_unstated_one() {
        let manifests = [on("arm64", ""), on("arm64", "v8")];
        assert_eq!(variants(&manifests, "linux/arm64/v8"), ["v8", ""]);
        assert_eq!(variants(&manifests, "linux/arm64"), ["", "v8"]);
        let manifests = [on("ppc64le", ""), on("ppc64le", "power9"), on("ppc64le", "power10")];
        assert_eq!(variants(&manifests, "linux/ppc64le/power9"), ["power9", ""]);
    }

    #[test]
    fn a_missing_platform_error_lists_the_available_ones() {
        let manifests = [on("arm64", ""), on("amd64", "")];
        let error = no_platform(&offered(&manifests), &"linux/s390x".parse().unwrap());
        assert_eq!(
            error.to_string(),
            "no manifest for linux/s390x (the index offers: linux/arm64, linux/amd64)"
        );
    }

    #[test]
    fn the_number_of_configs_is_bounded_at_the_limit() {
        let wanted: Platform = "linux/amd64".parse().unwrap();
        let choose = |at: usize| {
            let entries = vec![entry("", ""); at + 1];
            let mut n = 0;
            let chosen = by_config(&entries, &wanted, Vec::new(), |_| {
                n += 1;
                let text = if n == at + 1 { "linux/amd64" } else { "linux/arm64" };
                Ok(Some(text.parse().unwrap()))
            });
            (chosen.is_ok(), n)
        };
        assert_eq!(choose(MAX_EXAMINED - 1), (true, MAX_EXAMINED));
        assert_eq!(choose(MAX_EXAMINED), (false, MAX_EXAMINED));
    }
}
