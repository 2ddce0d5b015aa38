// SPDX-License-Identifier: Apache-2.0
//! The lists of a registry: whether it has them, and how it divides them into pages.

use common::error::Result;
use registry::Registry;
use registry::list::{FirstPage, Names};

use crate::answers;
use crate::report::{Is, Report};

/// The sizes of a page that are requested to find the largest one, in this order.
const SIZES: [u64; 3] = [10_000, 1_000, 100];

/// Reports the facts of a list. Returns its first name.
///
/// # Errors
/// Local if standard output cannot be written.
pub(crate) fn probe(
    registry: &Registry,
    names: Names,
    report: &mut Report,
) -> Result<Option<String>> {
    let [list, paging, limit] = match names {
        Names::Tags => ["tag-list", "tag-pages", "tag-page-limit"],
        Names::Repositories => ["catalog", "catalog-pages", "catalog-page-limit"],
    };
    let one = match registry.first_page(names, 1) {
        Ok(page) => page,
        Err(error) => {
            let (is, why) = answers::failed(registry, &error);
            report.put(list, is, why)?;
            report.unknown(&[paging, limit], "the list cannot be read")?;
            return Ok(None);
        }
    };
    report.put(list, Is::Yes, "")?;
    let largest = largest(registry, names);
    let (is, why) = paged(&one, &largest);
    report.put(paging, is, why)?;
    let (is, why) = limited(&largest);
    report.put(limit, is, why)?;
    match (one, largest) {
        (FirstPage::Names { first: Some(first), .. }, _)
        | (_, Largest::Page { page: FirstPage::Names { first: Some(first), .. }, .. }) => {
            Ok(Some(first))
        }
        _ => Ok(None),
    }
}

/// The response to the largest page size that the registry accepts.
enum Largest {
    /// A page. `refused` is the smallest size that the registry refused.
    Page { page: FirstPage, size: u64, refused: Option<u64> },
    /// No size was accepted.
    Refused,
    /// The list could not be read, with the reason.
    Failed(String),
}

fn largest(registry: &Registry, names: Names) -> Largest {
    let mut refused = None;
    for size in SIZES {
        match registry.first_page(names, size) {
            Ok(FirstPage::SizeRefused) => refused = Some(size),
            Ok(page) => return Largest::Page { page, size, refused },
            Err(error) => return Largest::Failed(answers::failed(registry, &error).1),
        }
    }
    Largest::Refused
}

/// Whether the registry divides a list as requested. `one` is the response to the request for one
/// name.
fn paged(one: &FirstPage, largest: &Largest) -> (Is, &'static str) {
    let (count, has_next) = match one {
        FirstPage::SizeRefused => return (Is::No, "n=1 is refused"),
        FirstPage::Names { count, has_next, .. } => (*count, *has_next),
    };
    let total = match largest {
        Largest::Page { page: FirstPage::Names { count, .. }, .. } => Some(*count),
        _ => None,
    };
    match (count, has_next, total) {
        (0, ..) => (Is::Unknown, "the list is empty"),
        (1, true, Some(1)) => (Is::Yes, "but the last page has a link to a next one"),
        (1, true, _) => (Is::Yes, ""),
        (1, false, Some(1)) => (Is::Unknown, "the list has one name only"),
        (1, false, Some(_)) => (Is::No, "n=1 is respected, but no link to the next page follows"),
        (1, false, None) => (Is::Unknown, "the other names could not be read"),
        _ => (Is::No, "n=1 is ignored"),
    }
}

/// The largest number of names in a page.
fn limited(largest: &Largest) -> (Is, String) {
    match largest {
        Largest::Failed(why) => (Is::Unknown, why.clone()),
        Largest::Refused | Largest::Page { page: FirstPage::SizeRefused, .. } => {
            (Is::Unknown, format!("less than {}", SIZES[SIZES.len() - 1]))
        }
        Largest::Page { page: FirstPage::Names { count, has_next: true, .. }, size, .. }
            if count < size =>
        {
            (Is::Number(*count), String::new())
        }
        Largest::Page { size, refused: Some(refused), .. } => {
            (Is::Unknown, format!("at least {size}, less than {refused}"))
        }
        Largest::Page { page: FirstPage::Names { count, .. }, .. } => {
            (Is::Unknown, format!("no limit found: a page had {count} names"))
        }
    }
}
