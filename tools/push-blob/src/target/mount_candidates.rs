// SPDX-License-Identifier: Apache-2.0
//! The repositories to mount a blob from, in the order in which they are tried.
//!
//! The rules are those of `docker push`. More repositories are tried for a large blob than for a
//! small one. Recorded repositories are sorted by the number of leading path components that they
//! share with the target. If the numbers are equal, the newest is first.
//!
//! Docker prefers repositories that it recorded with the same credentials, which it compares by an
//! HMAC. This rule is left out on purpose: `layout::distribution_sources` says why.

/// The size in bytes above which a blob is large, and the number of attempts for a large blob.
const LARGE: (u64, usize) = (10 << 20, 4);

/// The size in bytes above which a blob is of middle size, and the number of attempts for it.
const MIDDLE: (u64, usize) = (100 << 10, 3);

/// The number of attempts for a smaller blob.
const SMALL: usize = 1;

/// The paths of the repositories to try, best first: those that the user named, then those that
/// earlier runs recorded. The recorded ones are given newest first.
pub(super) fn mount_candidates(
    target: &str,
    named: &[String],
    remembered: &[String],
    size: u64,
) -> Vec<String> {
    let mut remembered: Vec<&String> = remembered.iter().collect();
    remembered.sort_by_key(|path| std::cmp::Reverse(leading_components(target, path)));
    let mut paths: Vec<String> = Vec::new();
    for path in named.iter().chain(remembered) {
        if path != target && !paths.contains(path) {
            paths.push(path.clone());
        }
    }
    let most = if size > LARGE.0 {
        LARGE.1
    } else if size > MIDDLE.0 {
        MIDDLE.1
    } else {
        SMALL
    };
    paths.truncate(most);
    paths
}

/// The number of leading path components that `a` and `b` have in common.
fn leading_components(a: &str, b: &str) -> usize {
    a.split('/').zip(b.split('/')).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(target: &str, named: &[&str], remembered: &[&str], size: u64) -> Vec<String> {
        let owned =
            |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
        mount_candidates(target, &owned(named), &owned(remembered), size)
    }

    #[test]
    fn named_repositories_precede_remembered_ones_and_similar_paths_precede_others() {
        let found = of("a/b/c", &["z", "y"], &["q", "a/x", "a/b/d", "r"], LARGE.0 + 1);
        assert_eq!(found, ["z", "y", "a/b/d", "a/x"]);
    }

    #[test]
    fn the_target_and_duplicates_are_left_out() {
        assert_eq!(of("a", &["a", "b", "b"], &["a", "b", "c"], LARGE.0 + 1), ["b", "c"]);
    }

    #[test]
    fn the_youngest_of_equals_precedes() {
        let found = of("a/b", &[], &["z/young", "a/young", "z/old", "a/old"], LARGE.0 + 1);
        assert_eq!(found, ["a/young", "a/old", "z/young", "z/old"]);
    }

    #[test]
    fn the_number_of_candidates_depends_on_the_size() {
        let count = |size| of("t", &[], &["a", "b", "c", "d", "e"], size).len();
        assert_eq!([0, MIDDLE.0, MIDDLE.0 + 1].map(count), [1, 1, 3]);
        assert_eq!([LARGE.0, LARGE.0 + 1].map(count), [3, 4]);
    }
}
