// SPDX-License-Identifier: Apache-2.0
//! Scopes: what a request needs to be allowed to do, in the token specification's words.

/// What a request needs to be allowed to do, as distribution's token specification spells it:
/// `repository:PATH:ACTION,ACTION`, a repository at most once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope(Vec<String>);

impl Scope {
    /// Pulling from a repository.
    pub fn pull(path: &str) -> Scope {
        Scope(vec![format!("repository:{path}:pull")])
    }

    /// Pushing to a repository, which takes looking there too.
    pub fn push(path: &str) -> Scope {
        Scope(vec![format!("repository:{path}:pull,push")])
    }

    /// The same and pulling from another repository: what mounting from it takes. The target comes
    /// first: some token servers look at one scope alone.
    pub fn and_pull(&self, path: &str) -> Scope {
        let mut both = self.clone();
        both.add(&format!("repository:{path}:pull"));
        both
    }

    /// What is asked for, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether something is to be pushed.
    pub fn writes(&self) -> bool {
        let mut actions = self.names().filter_map(|scope| Some(scope.rsplit_once(':')?.1));
        actions.any(|actions| actions.split(',').any(|action| action == "push"))
    }

    /// The same with what a challenge names, which comes first where it is `in_front`.
    pub(super) fn with<'a>(&self, named: impl Iterator<Item = &'a str>, in_front: bool) -> Scope {
        let mut all = if in_front { Scope(Vec::new()) } else { self.clone() };
        named.for_each(|scope| all.add(scope));
        self.0.iter().for_each(|scope| all.add(scope));
        all
    }

    /// Whether each of the other's actions is in this one.
    pub(super) fn covers(&self, other: &Scope) -> bool {
        let had = |resource: &str, action: &str| {
            let mut same = self.0.iter().filter_map(|scope| scope.rsplit_once(':'));
            same.any(|(name, had)| name == resource && had.split(',').any(|a| a == action))
        };
        let mut wanted = other.0.iter().filter_map(|scope| scope.rsplit_once(':'));
        wanted.all(|(resource, actions)| actions.split(',').all(|action| had(resource, action)))
    }

    /// Adds what a challenge names: actions are joined where the resource is there already.
    fn add(&mut self, scope: &str) {
        let Some((resource, actions)) = scope.rsplit_once(':') else { return };
        for known in &mut self.0 {
            let Some((name, had)) = known.rsplit_once(':') else { continue };
            if name == resource {
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
    fn what_a_challenge_names_is_added_once() {
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
