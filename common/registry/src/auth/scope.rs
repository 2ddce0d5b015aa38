// SPDX-License-Identifier: Apache-2.0
//! Scopes: the permissions that a request needs, in the syntax of the token specification.

/// The permissions that a request needs, as in distribution's token specification:
/// `repository:PATH:ACTION,ACTION`. Each repository appears at most once. A scope that the user
/// chose may be any text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope(Vec<String>);

impl Scope {
    /// Permission to pull from a repository.
    pub fn pull(path: &str) -> Scope {
        Scope(vec![format!("repository:{path}:pull")])
    }

    /// Permission to push to a repository. Includes pull, because a push also checks which blobs
    /// exist.
    pub fn push(path: &str) -> Scope {
        Scope(vec![format!("repository:{path}:pull,push")])
    }

    /// No permission, for the API's root.
    pub fn none() -> Scope {
        Scope(Vec::new())
    }

    /// Permission to list the repositories of a registry.
    pub fn catalog() -> Scope {
        Scope(vec!["registry:catalog:*".to_owned()])
    }

    /// Permission to delete from a repository. Includes pull, because the subject of a manifest is
    /// read before the manifest is deleted.
    pub fn delete(path: &str) -> Scope {
        Scope(vec![format!("repository:{path}:pull,delete")])
    }

    /// This scope plus pull from another repository, as a cross-repository mount needs. The target
    /// repository is first, because some token servers use only the first scope.
    pub fn and_pull(&self, path: &str) -> Scope {
        let mut both = self.clone();
        both.add(&format!("repository:{path}:pull"));
        both
    }

    /// These scopes, in order. Each may be any text.
    pub fn of<'a>(scopes: impl Iterator<Item = &'a str>) -> Scope {
        scopes.fold(Scope(Vec::new()), |all, scope| all.and(scope))
    }

    /// This scope plus another, which may be any text.
    pub fn and(&self, scope: &str) -> Scope {
        let mut both = self.clone();
        both.add_any(scope);
        both
    }

    /// The scopes as text, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether the scope includes an action that changes a repository: any action except pull.
    pub fn writes(&self) -> bool {
        let of_repositories = self.names().filter(|scope| scope.starts_with("repository"));
        let mut actions = of_repositories.filter_map(|scope| Some(scope.rsplit_once(':')?.1));
        actions.any(|actions| actions.split(',').any(|action| action != "pull"))
    }

    /// This scope plus the scopes named in a challenge. With `in_front`, the challenge's scopes are
    /// first.
    pub(super) fn with<'a>(&self, named: impl Iterator<Item = &'a str>, in_front: bool) -> Scope {
        let mut all = if in_front { Scope(Vec::new()) } else { self.clone() };
        named.for_each(|scope| all.add(scope));
        self.0.iter().for_each(|scope| all.add_any(scope));
        all
    }

    /// The scopes named in a challenge.
    pub(super) fn named<'a>(named: impl Iterator<Item = &'a str>) -> Scope {
        Scope(Vec::new()).with(named, false)
    }

    /// Whether this scope includes every action of `other`.
    pub(super) fn covers(&self, other: &Scope) -> bool {
        let had = |resource: &str, action: &str| {
            let mut same = self.0.iter().filter_map(|scope| scope.rsplit_once(':'));
            same.any(|(name, had)| name == resource && had.split(',').any(|a| a == action))
        };
        let mut wanted = other.0.iter().filter_map(|scope| scope.rsplit_once(':'));
        wanted.all(|(resource, actions)| actions.split(',').all(|action| had(resource, action)))
    }

    /// Adds one scope, even if it has no resource.
    fn add_any(&mut self, scope: &str) {
        if scope.contains(':') {
            self.add(scope);
        } else if !self.0.iter().any(|known| known == scope) {
            self.0.push(scope.to_owned());
        }
    }

    /// Adds one scope. If the resource is listed already, its actions are merged.
    fn add(&mut self, scope: &str) {
        let Some((resource, actions)) = scope.rsplit_once(':') else { return };
        for known in &mut self.0 {
            let Some((name, had)) = known.rsplit_once(':') else { continue };
            if name == resource {
                let has = |action: &str| had.split(',').any(|had| had == action);
                if actions.split(',').all(has) {
                    return;
                }
                let mut all: Vec<&str> = had.split(',').chain(actions.split(',')).collect();
                all.sort_unstable();
                all.dedup();
                *known = format!("{resource}:{}", all.join(","));
                return;
            }
        }
        self.0.push(scope.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_of_one_resource_are_joined() {
        let mut scope = Scope::push("a/b").and_pull("c");
        for named in ["repository:a/b:pull", "repository:a/b:delete", "junk", "registry:catalog:*"]
        {
            scope.add(named);
        }
        let want = ["repository:a/b:delete,pull,push", "repository:c:pull", "registry:catalog:*"];
        assert_eq!(scope.0, want);
    }

    #[test]
    fn scopes_of_the_user_may_be_any_text() {
        let texts = ["a word", "openid", "repository:a:*", "openid"];
        let scope = Scope::of(texts.into_iter());
        assert_eq!(scope.0, ["a word", "openid", "repository:a:*"]);
        let more = scope.with(["repository:b:pull"].into_iter(), true);
        assert_eq!(more.0, ["repository:b:pull", "a word", "openid", "repository:a:*"]);
        assert_eq!(Scope::pull("a").and("repository:a:delete").0, ["repository:a:delete,pull"]);
        for (text, writes) in [
            ("repository:a:*", true),
            ("repository:a:delete", true),
            ("repository(plugin):a:push", true),
            ("repository:a:pull", false),
            ("registry:catalog:*", false),
            ("repository", false),
        ] {
            assert_eq!(Scope::of([text].into_iter()).writes(), writes, "{text}");
        }
    }

    #[test]
    fn scopes_of_a_challenge_are_added_once() {
        let scope = Scope::push("a");
        assert!(scope.covers(&Scope::pull("a")));
        assert!(!Scope::pull("a").covers(&scope));
        assert!(scope.writes() && !Scope::pull("push").writes());
        assert_eq!(scope.with(["repository:a:pull"].into_iter(), false), scope);
        let both = scope.with(["registry:catalog:*"].into_iter(), true);
        assert_eq!(
            both.names().collect::<Vec<_>>(),
            ["registry:catalog:*", "repository:a:pull,push"]
        );
    }
}
